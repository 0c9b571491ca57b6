//! Blocks of fixed size, packed on threads and written in order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Crc, FlushCompress, Status};

/// Method deflate; no name, no time; of an unknown system, as Go writes it.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A last deflate block with nothing in it: fixed codes, end of block.
const DEFLATE_END: [u8; 2] = [3, 0];

/// Packs one block.
#[derive(Clone, Copy)]
pub(super) enum Packer {
    Gzip { level: u32 },
    Zstd { level: u32 },
}

impl Packer {
    fn block_size(self) -> usize {
        match self {
            Self::Gzip { .. } => 1 << 20,
            Self::Zstd { .. } => 4 << 20,
        }
    }

    /// Appends the packed block to `out`.
    fn pack(self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip { level } => deflate(block, level, out),
            Self::Zstd { level } => {
                out.reserve(zstd::zstd_safe::compress_bound(block.len()));
                let level = i32::try_from(level).expect("levels end at 22");
                let mut encoder = zstd::bulk::Compressor::new(level)?;
                encoder.include_checksum(true)?;
                out.resize(out.capacity(), 0);
                let size = encoder.compress_to_buffer(block, out.as_mut_slice())?;
                out.truncate(size);
                Ok(())
            }
        }
    }
}

/// What cannot be made smaller is stored: trying takes longer than anything else.
fn deflate(block: &[u8], level: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let level = if is_dense(block)? { 0 } else { level };
    deflate_at(block, level, out)
}

/// Always with a new state: what an earlier block left in one must not matter.
fn deflate_at(block: &[u8], level: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let mut state = Compress::new(flate2::Compression::new(level), false);
    out.reserve(block.len() + block.len() / 8 + 64);
    loop {
        let read = usize::try_from(state.total_in()).expect("below the block's size");
        let status = state.compress_vec(&block[read..], out, FlushCompress::Full)?;
        // Done when there was room to spare; otherwise the flush may have more to say.
        if out.len() < out.capacity() && status != Status::StreamEnd {
            return Ok(());
        }
        out.reserve(64 << 10);
    }
}

/// Tells whether a block looks compressed or encrypted: all bytes are about equally frequent, so that codes of
/// different lengths would save less than one in two hundred, and samples have no repetitions either.
///
/// In whole numbers: every machine has to decide alike.
fn is_dense(block: &[u8]) -> io::Result<bool> {
    const SAMPLE: usize = 16 << 10;
    const SAMPLES: usize = 4;
    if block.len() < SAMPLE * SAMPLES {
        return Ok(false);
    }
    let mut counts = [[0_u32; 256]; 4];
    for four in block.chunks_exact(4) {
        for (counts, byte) in counts.iter_mut().zip(four) {
            counts[usize::from(*byte)] += 1;
        }
    }
    let count = |byte: usize| counts.iter().map(|counts| u64::from(counts[byte])).sum::<u64>();
    // The sum of squares is n*n/256 for equally frequent bytes, and more for all others.
    let squares: u64 = (0..256).map(|byte| count(byte).pow(2)).sum();
    let total = (block.len() / 4 * 4) as u64;
    if squares * 256 * 1000 > total * total * 1021 {
        return Ok(false);
    }
    let mut packed = Vec::new();
    for at in 0..SAMPLES {
        let start = at * (block.len() - SAMPLE) / (SAMPLES - 1);
        packed.clear();
        deflate_at(&block[start..start + SAMPLE], 1, &mut packed)?;
        if packed.len() < SAMPLE - SAMPLE / 64 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A block on its way to a thread. Both buffers come back.
struct Job {
    block: Vec<u8>,
    packed: Vec<u8>,
    done: SyncSender<Done>,
}

struct Done {
    block: Vec<u8>,
    packed: Vec<u8>,
    crc: Crc,
    result: io::Result<()>,
}

/// Cuts what is written into blocks and has them packed.
pub(super) struct Blocks {
    packer: Packer,
    /// The block being filled.
    block: Vec<u8>,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Blocks under way, in order; more of them than threads, so that none waits.
    pending: VecDeque<Receiver<Done>>,
    /// Used buffers: fresh ones would cost a page fault every 4 KiB.
    spare: Vec<(Vec<u8>, Vec<u8>)>,
    crc: Crc,
    started: bool,
}

impl Blocks {
    pub(super) fn new(packer: Packer, threads: NonZero<usize>) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let work = |_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || work(packer, &queue))
        };
        Self {
            packer,
            block: Vec::with_capacity(packer.block_size()),
            jobs: Some(jobs),
            threads: (0..threads.get()).map(work).collect(),
            pending: VecDeque::new(),
            spare: Vec::new(),
            crc: Crc::new(),
            started: false,
        }
    }

    /// Takes some of `bytes`, and writes what is packed meanwhile.
    pub(super) fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<usize> {
        let count = bytes.len().min(self.packer.block_size() - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == self.packer.block_size() {
            self.submit(out)?;
        }
        Ok(count)
    }

    /// Packs the rest, and writes what ends the stream.
    pub(super) fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        // An empty stream still is one frame of zstd.
        if !self.block.is_empty() || !self.started {
            self.submit(out)?;
        }
        while !self.pending.is_empty() {
            self.write_oldest(out)?;
        }
        if let Packer::Gzip { .. } = self.packer {
            out.write_all(&DEFLATE_END)?;
            out.write_all(&self.crc.sum().to_le_bytes())?;
            out.write_all(&self.crc.amount().to_le_bytes())?;
        }
        Ok(())
    }

    /// Hands the block over, after waiting for the oldest if enough are under way.
    fn submit(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.started {
            self.started = true;
            if let Packer::Gzip { .. } = self.packer {
                out.write_all(&GZIP_HEADER)?;
            }
        }
        if self.pending.len() > self.threads.len() + 1 {
            self.write_oldest(out)?;
        }
        let (next, packed) = self.spare.pop().unwrap_or_default();
        let (done, result) = sync_channel(1);
        let block = std::mem::replace(&mut self.block, next);
        self.block.reserve_exact(self.packer.block_size());
        let jobs = self.jobs.as_ref().expect("only dropping takes it");
        let job = Job { block, packed, done };
        jobs.send(job).map_err(|_| given_up())?;
        self.pending.push_back(result);
        Ok(())
    }

    fn write_oldest(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Some(oldest) = self.pending.pop_front() else {
            return Ok(());
        };
        let Done {
            mut block,
            mut packed,
            crc,
            result,
        } = oldest.recv().map_err(|_| given_up())?;
        result?;
        out.write_all(&packed)?;
        self.crc.combine(&crc);
        block.clear();
        packed.clear();
        self.spare.push((block, packed));
        Ok(())
    }
}

impl Drop for Blocks {
    /// The threads end when there are no jobs and will be none.
    fn drop(&mut self) {
        self.jobs = None;
        self.pending.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(packer: Packer, queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            block,
            mut packed,
            done,
        }) = job
        else {
            return;
        };
        let result = packer.pack(&block, &mut packed);
        let mut crc = Crc::new();
        if let Packer::Gzip { .. } = packer {
            crc.update(&block);
        }
        // Nobody waits when the whole was given up.
        let _ = done.send(Done {
            block,
            packed,
            crc,
            result,
        });
    }
}

fn given_up() -> io::Error {
    io::Error::other("a thread that compresses has ended")
}
