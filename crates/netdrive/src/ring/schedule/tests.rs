use std::collections::VecDeque;

use super::*;

/// What a rank gives: powers of two in the lower bits show whose it is, and in a sum who was added, how often.
fn given(rank: usize, at: usize) -> u64 {
    ((at as u64) << 20) + (1 << rank)
}

/// Runs the schedule of all ranks over queues.
fn run(shape: Shape) -> Vec<Vec<u64>> {
    let Shape { world, channels, count, .. } = shape;
    let many = count * world;
    let mut outputs = vec![vec![0; many]; world];
    let mut wires = vec![VecDeque::<Vec<u64>>::new(); world * channels];
    let mut cursors: Vec<(usize, usize, Cursor)> = (0..world)
        .flat_map(|rank| (0..channels).map(move |channel| (rank, channel, Cursor::new(shape, rank, channel))))
        .collect();
    let mut received = vec![0; world];
    loop {
        let mut moved = false;
        for (rank, channel, cursor) in &mut cursors {
            let Some(step) = cursor.step() else { continue };
            let mut value = if step.receive {
                let Some(value) = wires[*rank * channels + *channel].pop_front() else { continue };
                received[*rank] += 1;
                assert_eq!(value.len(), step.len, "{step:?}");
                value
            } else {
                vec![0; step.len]
            };
            if let Some(at) = step.input {
                value.iter_mut().enumerate().for_each(|(index, sum)| *sum += given(*rank, at + index));
            }
            if let Some(at) = step.output {
                outputs[*rank][at..at + step.len].copy_from_slice(&value);
            }
            if step.send {
                wires[(*rank + 1) % world * channels + *channel].push_back(value);
            }
            cursor.advance();
            moved = true;
        }
        if !moved {
            break;
        }
    }
    assert!(cursors.iter().all(|(.., cursor)| cursor.step().is_none()), "{shape:?} got stuck");
    assert!(wires.iter().all(VecDeque::is_empty), "{shape:?} leaves messages");
    for (rank, received) in received.into_iter().enumerate() {
        assert_eq!(received, shape.rounds(rank) * channels as u64, "{shape:?}");
    }
    outputs
}

/// What `rank` should have in element `at` of its output, if anything.
fn wanted(shape: Shape, rank: usize, at: usize) -> Option<u64> {
    let Shape { collective, world, count, .. } = shape;
    let sum = |at| (0..world).map(|rank| given(rank, at)).sum();
    let own = at < count;
    match collective {
        Collective::AllReduce => own.then(|| sum(at)),
        Collective::ReduceScatter => own.then(|| sum(rank * count + at)),
        Collective::AllGather => Some(given(at / count, at % count)),
        Collective::Broadcast { root } => own.then(|| given(root, at)),
        Collective::Reduce { root } => (own && rank == root).then(|| sum(at)),
        Collective::SendRecv | Collective::AllToAll => own.then(|| given((rank + world - 1) % world, at)),
    }
}

#[test]
fn every_element_gets_where_it_belongs() {
    for world in 2..=7 {
        for collective in [
            Collective::AllReduce,
            Collective::AllGather,
            Collective::ReduceScatter,
            Collective::Broadcast { root: 0 },
            Collective::Broadcast { root: world - 1 },
            Collective::Reduce { root: 0 },
            Collective::Reduce { root: 1 },
            Collective::SendRecv,
        ] {
            for channels in 1..=3 {
                for count in [0, 1, 2, 3, 5, 16, 17, 99, 256, 1000] {
                    for (message, element) in [(4, 4), (8, 8), (16, 1)] {
                        let shape = Shape { collective, world, channels, element, message, count };
                        for (rank, output) in run(shape).iter().enumerate() {
                            for (at, &value) in output.iter().enumerate() {
                                assert_eq!(
                                    value,
                                    wanted(shape, rank, at).unwrap_or(0),
                                    "{shape:?} {rank} at {at}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

fn steps(shape: Shape, rank: usize) -> Vec<Step> {
    let mut cursor = Cursor::new(shape, rank, 0);
    let mut steps = Vec::new();
    while let Some(step) = cursor.step() {
        steps.push(step);
        cursor.advance();
    }
    steps
}

#[test]
fn two_ranks_by_hand() {
    let shape =
        Shape { collective: Collective::AllReduce, world: 2, channels: 1, element: 4, message: 4, count: 8 };
    let nothing = Step { receive: false, input: None, output: None, send: false, complete: false, len: 4 };
    assert_eq!(
        steps(shape, 0),
        [
            Step { input: Some(4), send: true, ..nothing },
            Step { receive: true, input: Some(0), output: Some(0), send: true, complete: true, ..nothing },
            Step { receive: true, output: Some(4), ..nothing },
        ]
    );
    let shape = Shape { collective: Collective::ReduceScatter, count: 4, ..shape };
    assert_eq!(
        steps(shape, 1),
        [
            Step { input: Some(0), send: true, ..nothing },
            Step { receive: true, input: Some(4), output: Some(0), complete: true, ..nothing },
        ]
    );
}

#[test]
fn channels_keep_to_their_own_elements() {
    // Channels are at different places of one repetition: none may write what another reads.
    for collective in [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter] {
        let shape = Shape { collective, world: 3, channels: 2, element: 4, message: 4, count: 100 };
        let mut owner = vec![None; 300];
        for channel in 0..shape.channels {
            let mut cursor = Cursor::new(shape, 1, channel);
            while let Some(step) = cursor.step() {
                // In place, an all-gather's input lies in its output, a reduce-scatter's output in its input.
                let shift = |wanted| if collective == wanted { 100 } else { 0 };
                let touched = [
                    step.input.map(|at| at + shift(Collective::AllGather)),
                    step.output.map(|at| at + shift(Collective::ReduceScatter)),
                ];
                for at in touched.into_iter().flatten() {
                    for element in &mut owner[at..at + step.len] {
                        assert_eq!(*element.get_or_insert(channel), channel, "{collective:?}");
                    }
                }
                cursor.advance();
            }
        }
    }
}
