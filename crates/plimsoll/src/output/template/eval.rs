//! Filling in a template.

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::parse::{Base, Command, Node, Operand, Pipeline, Place};

/// Fills in `value`.
pub(super) fn render(
    nodes: &[Node],
    value: &Value,
    nothing: fn(&str) -> &'static str,
) -> Result<String, TemplateError> {
    let mut state = State {
        out: String::new(),
        nothing,
        variables: vec![("$".to_owned(), value.clone())],
    };
    state.block(nodes, value)?;
    Ok(state.out)
}

struct State {
    out: String,
    /// What is printed for a field of this name that is null.
    nothing: fn(&str) -> &'static str,
    variables: Vec<(String, Value)>,
}

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl State {
    fn block(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        let visible = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(visible);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match (pipeline.variables.is_empty(), field(pipeline)) {
                    (true, Some(name)) if value.is_null() => self.out.push_str((self.nothing)(name)),
                    (true, _) => self.out.push_str(&functions::show(&value)),
                    (false, _) => self.bind(pipeline, &[value]),
                }
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::If(pipeline, body, otherwise) => return self.branch(pipeline, body, otherwise, dot, false),
            Node::With(pipeline, body, otherwise) => {
                return self.branch(pipeline, body, otherwise, dot, true);
            }
            Node::Range(pipeline, body, otherwise) => return self.range(pipeline, body, otherwise, dot),
        }
        Ok(Flow::On)
    }

    fn branch(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
        moves_dot: bool,
    ) -> Result<Flow, TemplateError> {
        let visible = self.variables.len();
        let value = self.pipeline(pipeline, dot)?;
        if !pipeline.variables.is_empty() {
            self.bind(pipeline, std::slice::from_ref(&value));
        }
        let flow = match functions::is_true(&value) {
            true if moves_dot => self.block(body, &value),
            true => self.block(body, dot),
            false => self.block(otherwise, dot),
        }?;
        self.variables.truncate(visible);
        Ok(flow)
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let items: Vec<(Value, Value)> = match self.pipeline(pipeline, dot)? {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (index.into(), item))
                .collect(),
            Value::Object(map) => {
                let mut items: Vec<_> = map.into_iter().collect();
                items.sort_by(|one, other| one.0.cmp(&other.0));
                items.into_iter().map(|(key, item)| (key.into(), item)).collect()
            }
            Value::Number(count) => (0..count.as_i64().unwrap_or(0))
                .map(|index| (index.into(), index.into()))
                .collect(),
            Value::Null => Vec::new(),
            other => {
                let reason = format!("range can't iterate over {}", functions::show(&other));
                return Err(failed(&pipeline.commands[0].place, reason));
            }
        };
        if items.is_empty() {
            return self.block(otherwise, dot);
        }
        for (key, item) in items {
            let visible = self.variables.len();
            match pipeline.variables.len() {
                0 => {}
                1 => self.bind(pipeline, std::slice::from_ref(&item)),
                _ => self.bind(pipeline, &[key, item.clone()]),
            }
            let flow = self.block(body, &item)?;
            self.variables.truncate(visible);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn bind(&mut self, pipeline: &Pipeline, values: &[Value]) {
        for (name, value) in pipeline.variables.iter().zip(values) {
            let existing = self
                .variables
                .iter_mut()
                .rev()
                .find(|(variable, _)| variable == name);
            match existing {
                Some((_, slot)) if pipeline.assigns => *slot = value.clone(),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut result = None;
        for command in &pipeline.commands {
            result = Some(self.command(command, dot, result)?);
        }
        Ok(result.unwrap_or_default())
    }

    fn command(&self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value, TemplateError> {
        let Some(function) = command.function else {
            return self.operand(&command.operands[0], dot);
        };
        let mut arguments = Vec::new();
        for operand in &command.operands {
            let value = self.operand(operand, dot)?;
            // `and` and `or` look no further than they must, so that the rest may be about what is not there.
            if function.stops_at(&value) {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        function.call(&arguments).map_err(|reason| {
            failed(
                &command.place,
                format!("error calling {}: {reason}", function.name()),
            )
        })
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let base = match &operand.base {
            Base::Dot => return fields(dot, &operand.fields),
            Base::Literal(value) => value.clone(),
            Base::Variable(name) => {
                let variable = self.variables.iter().rev().find(|(variable, _)| variable == name);
                variable.map(|(_, value)| value.clone()).unwrap_or_default()
            }
            Base::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Call(command) => self.command(command, dot, None)?,
        };
        fields(&base, &operand.fields)
    }
}

/// The name of the field whose value a pipeline is, untouched.
fn field(pipeline: &Pipeline) -> Option<&str> {
    match pipeline.commands.as_slice() {
        [
            Command {
                function: None,
                operands,
                ..
            },
        ] => operands.first()?.fields.last().map(|(name, _)| name.as_str()),
        _ => None,
    }
}

fn fields(value: &Value, names: &[(String, Place)]) -> Result<Value, TemplateError> {
    let mut current = value;
    for (name, place) in names {
        current = match current {
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                None => return Err(failed(place, format!("map has no entry for key {name:?}"))),
            },
            Value::Null => return Err(failed(place, format!("nil data; no entry for key {name:?}"))),
            other => {
                let kind = functions::go_type(other);
                return Err(failed(
                    place,
                    format!("can't evaluate field {name} in type {kind}"),
                ));
            }
        };
    }
    Ok(current.clone())
}

fn failed(place: &Place, reason: String) -> TemplateError {
    TemplateError::Execute {
        line: place.line,
        column: place.column,
        at: place.text.clone(),
        reason,
    }
}
