//! Every collective among threads of one process through the contract-checking net, against what it should give.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests: a panic is the failure"
)]

mod local;
mod strict;

use std::path::Path;

use local::{Local, LocalRank};
use srv6_netdrive::{
    Buffers, Collective, DataType, Driver, DriverOptions, Error, Mesh, MeshOptions, NetSource, Operation,
    Reduction, Ring, RingOptions,
};

/// Either way of being connected.
enum Links {
    Ring(Ring),
    Mesh(Mesh),
}

impl Links {
    fn run(&mut self, operation: &Operation, count: usize, buffers: Buffers<'_>, repeats: u32) -> usize {
        let done = match self {
            Self::Ring(ring) => ring.run(operation, count, buffers, repeats),
            Self::Mesh(mesh) => mesh.run(operation, count, buffers, repeats),
        };
        let done = done.unwrap();
        assert!(done.is_sorted());
        done.len()
    }
}

fn load(path: &Path) -> Driver {
    let source = NetSource::Plugin { path: path.to_owned(), version: None, nccl: None };
    Driver::load(&source, &DriverOptions::default()).unwrap()
}

/// Runs `body` as each rank, on a thread of its own, with a ring and a mesh.
fn ranks(path: &Path, world: usize, channels: usize, body: impl Fn(usize, Links, Links) + Sync) {
    let local = Local::new(world);
    std::thread::scope(|scope| {
        for rank in 0..world {
            let (local, body) = (&local, &body);
            scope.spawn(move || {
                let driver = load(path);
                let exchange = LocalRank(local, rank);
                let ring = RingOptions { rank, world, channels, slot_bytes: 512, ..RingOptions::default() };
                let ring = Ring::connect(&driver, &ring, &exchange).unwrap();
                let mesh = MeshOptions { rank, world, channels, slot_bytes: 336, ..MeshOptions::default() };
                let mesh = Mesh::connect(&driver, &mesh, &exchange).unwrap();
                assert_eq!(mesh.connections(), (world - 1) * channels);
                body(rank, Links::Ring(ring), Links::Mesh(mesh));
            });
        }
    });
}

/// Small, so that sums and products are exact in every type.
fn value(rank: usize, at: usize) -> f64 {
    f64::from(((at * 5 + rank * 3 + at / 7) % 4) as u8 + 1)
}

fn encode(data_type: DataType, value: f64) -> Vec<u8> {
    let whole = value as u8;
    match data_type {
        DataType::Int8 | DataType::Uint8 => vec![whole],
        DataType::Int32 | DataType::Uint32 => u32::from(whole).to_ne_bytes().into(),
        DataType::Int64 | DataType::Uint64 => u64::from(whole).to_ne_bytes().into(),
        DataType::Half => half::f16::from_f64(value).to_ne_bytes().into(),
        DataType::Float => (value as f32).to_ne_bytes().into(),
        DataType::Double => value.to_ne_bytes().into(),
        DataType::Bfloat16 => half::bf16::from_f64(value).to_ne_bytes().into(),
    }
}

fn reduced(reduction: Reduction, world: usize, at: usize) -> f64 {
    let values = (0..world).map(|rank| value(rank, at));
    match reduction {
        Reduction::Sum => values.sum(),
        Reduction::Prod => values.product(),
        Reduction::Max => values.fold(0.0, f64::max),
        Reduction::Min => values.fold(9.0, f64::min),
        Reduction::Avg => values.sum::<f64>() / world as f64,
        Reduction::PreMulSum { .. } => (0..world).map(|rank| value(rank, at) * (1 + rank % 2) as f64).sum(),
    }
}

/// What a rank's output should hold; `None` where it gets nothing.
fn wanted(operation: &Operation, count: usize, rank: usize, world: usize) -> Option<Vec<u8>> {
    let sum = |at| reduced(operation.reduction, world, at);
    let (_, length) = operation.lengths(count, world);
    let element = |at: usize| match operation.collective {
        Collective::AllReduce => Some(sum(at)),
        Collective::Reduce { root } => (rank == root).then(|| sum(at)),
        Collective::ReduceScatter => Some(sum(rank * count + at)),
        Collective::AllGather => Some(value(at / count, at % count)),
        Collective::Broadcast { root } => Some(value(root, at)),
        Collective::SendRecv => Some(value((rank + world - 1) % world, at)),
        Collective::AllToAll => Some(value(at / count, rank * count + at % count)),
    };
    let elements: Option<Vec<f64>> = (0..length).map(element).collect();
    Some(elements?.into_iter().flat_map(|value| encode(operation.data_type, value)).collect())
}

fn check(links: &mut Links, operation: Operation, count: usize, rank: usize, world: usize) {
    let factor = (1 + rank % 2) as u8;
    let operation = match operation.reduction {
        Reduction::PreMulSum { .. } => Operation { reduction: Reduction::PreMulSum { factor }, ..operation },
        _ => operation,
    };
    let (given, gotten) = operation.lengths(count, world);
    let size = operation.data_type.bytes();
    let input: Vec<u8> = (0..given).flat_map(|at| encode(operation.data_type, value(rank, at))).collect();
    let mut output = vec![0xEE; gotten * size];
    let apart = Buffers::Apart { input: &input, output: &mut output };
    assert_eq!(links.run(&operation, count, apart, 3), 3);
    let right = wanted(&operation, count, rank, world);
    match &right {
        Some(right) => assert_eq!(&output, right, "{operation:?} {count} rank {rank} of {world}"),
        None => assert!(output.iter().all(|&byte| byte == 0xEE), "{operation:?} rank {rank}"),
    }

    let mut both = vec![0xEE; given.max(gotten) * size];
    let place = match operation.collective {
        Collective::AllGather => rank * input.len(),
        _ => 0,
    };
    both[place..place + input.len()].copy_from_slice(&input);
    assert_eq!(links.run(&operation, count, Buffers::Same(&mut both), 1), 1);
    let meaningless = matches!(operation.collective, Collective::SendRecv | Collective::AllToAll);
    if let Some(right) = right.filter(|_| !meaningless || world == 1) {
        let place = match operation.collective {
            Collective::ReduceScatter => rank * right.len(),
            _ => 0,
        };
        assert_eq!(both[place..place + right.len()], right, "{operation:?} {count} in place rank {rank}");
    }
}

fn collectives(world: usize) -> [Collective; 7] {
    [
        Collective::AllReduce,
        Collective::AllGather,
        Collective::ReduceScatter,
        Collective::Broadcast { root: world - 1 },
        Collective::Reduce { root: world / 2 },
        Collective::SendRecv,
        Collective::AllToAll,
    ]
}

#[test]
fn every_collective_among_one_to_eight_ranks_of_odd_counts() {
    for (world, version, channels) in [(1, 12, 1), (2, 12, 2), (3, 8, 1), (5, 6, 3), (8, 12, 2)] {
        let path = strict::plugin(&[version], &[]);
        ranks(&path, world, channels, |rank, mut ring, mut mesh| {
            for collective in collectives(world) {
                let links = if collective == Collective::AllToAll { &mut mesh } else { &mut ring };
                for (data_type, count) in [
                    (DataType::Float, 1),
                    (DataType::Uint8, 7),
                    (DataType::Int64, 131),
                    (DataType::Half, 601),
                ] {
                    let operation = Operation { collective, data_type, reduction: Reduction::Sum };
                    check(links, operation, count, rank, world);
                }
                // Enough that every channel is worth being used.
                let operation =
                    Operation { collective, data_type: DataType::Int32, reduction: Reduction::Max };
                check(links, operation, 9_001, rank, world);
                check(links, operation, 0, rank, world);
            }
        });
    }
}

#[test]
fn every_type_and_reduction() {
    let path = strict::plugin(&[12], &[]);
    ranks(&path, 4, 1, |rank, mut ring, _| {
        for data_type in DataType::ALL {
            for reduction in [
                Reduction::Sum,
                Reduction::Prod,
                Reduction::Max,
                Reduction::Min,
                Reduction::Avg,
                Reduction::PreMulSum { factor: 0 },
            ] {
                for collective in
                    [Collective::AllReduce, Collective::ReduceScatter, Collective::Reduce { root: 1 }]
                {
                    check(&mut ring, Operation { collective, data_type, reduction }, 19, rank, 4);
                }
            }
        }
    });
}

#[test]
fn what_does_not_go_is_refused() {
    let path = strict::plugin(&[12], &[]);
    ranks(&path, 2, 1, |_, ring, mesh| {
        let (Links::Ring(mut ring), Links::Mesh(mut mesh)) = (ring, mesh) else { unreachable!() };
        let mut run = |collective, bytes: usize| {
            let operation = Operation { collective, data_type: DataType::Uint8, reduction: Reduction::Sum };
            let mut data = vec![0; bytes];
            let other: &mut dyn FnMut(Buffers<'_>) -> Result<Vec<std::time::Duration>, Error> =
                &mut |buffers| mesh.run(&operation, 4, buffers, 1);
            match collective {
                Collective::AllReduce => other(Buffers::Same(&mut data)).unwrap_err().to_string(),
                _ => ring.run(&operation, 4, Buffers::Same(&mut data), 1).unwrap_err().to_string(),
            }
        };
        assert_eq!(run(Collective::AllReduce, 4), "AllReduce doesn't go over a mesh");
        assert_eq!(run(Collective::AllToAll, 8), "AllToAll doesn't go over a ring");
        assert_eq!(
            run(Collective::Broadcast { root: 2 }, 4),
            "the root is 2: wanted less than the number of ranks"
        );
        assert_eq!(run(Collective::AllGather, 4), "the buffer is 4 bytes long: wanted 8");
    });
}
