//! The graph: vertices in the order they were added, inputs before users.

/// Names a vertex of one [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(pub(crate) usize);

/// One operation and the vertices whose outputs it takes.
#[derive(Debug)]
pub(crate) struct Vertex<O> {
    pub(crate) op: O,
    pub(crate) inputs: Vec<VertexId>,
}

/// Operations and what they need. Acyclic by construction: an input exists before its user.
#[derive(Debug)]
pub struct Graph<O> {
    pub(crate) vertices: Vec<Vertex<O>>,
}

impl<O> Default for Graph<O> {
    fn default() -> Self {
        Self { vertices: Vec::new() }
    }
}

impl<O> Graph<O> {
    /// Adds an operation on the outputs of `inputs`.
    pub fn add(&mut self, op: O, inputs: Vec<VertexId>) -> VertexId {
        debug_assert!(
            inputs.iter().all(|input| input.0 < self.vertices.len()),
            "inputs come from this graph"
        );
        self.vertices.push(Vertex { op, inputs });
        VertexId(self.vertices.len() - 1)
    }

    /// Returns the operation of a vertex.
    pub fn op(&self, id: VertexId) -> &O {
        &self.vertices[id.0].op
    }

    /// Returns the vertices that `targets` need, themselves included, inputs first.
    pub fn reachable(&self, targets: &[VertexId]) -> Vec<VertexId> {
        let mut needed = vec![false; self.vertices.len()];
        let mut open = targets.to_vec();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut needed[id.0], true) {
                open.extend(&self.vertices[id.0].inputs);
            }
        }
        (0..needed.len())
            .filter(|&index| needed[index])
            .map(VertexId)
            .collect()
    }
}
