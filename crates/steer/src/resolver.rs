//! The path source, asked on a thread of its own: a slow one holds up nothing but what needs its answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use srv6_fabric::{Flow, Topology};
use srv6_paths::{Origin, PathError, Paths, Query};

use crate::notice::{AtEnd, Notice};
use crate::report::SourceReport;
use crate::worker::{Asked, Job};
use crate::{ASKING, SteerError};

/// The way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Resolver {
    questions: mpsc::Sender<Question>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    questions: AtomicU64,
    failures: AtomicU64,
    waited_us: AtomicU64,
    longest_us: AtomicU64,
}

/// What the thread is asked.
#[derive(Debug)]
pub(crate) enum Question {
    /// Paths of a flow.
    Candidates { asked: Asked, flow: Flow, query: Query, deadline: Instant },
    /// The fabric, not as it was before `since`.
    Topology { since: Instant, deadline: Instant },
    /// The fabric as it is known, an older one too.
    Known { notice: Notice<Topology, PathError>, deadline: Instant },
    /// To be told when all questions before this one are answered.
    Settle(AtEnd),
}

impl Resolver {
    /// Starts the thread; its answers go to `answers`.
    pub(crate) fn start(paths: Paths, answers: mpsc::Sender<Job>) -> Result<Self, SteerError> {
        let (questions, inbox) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        std::thread::Builder::new()
            .name(ASKING.to_owned())
            .spawn(move || {
                let mut paths = paths;
                for question in inbox {
                    let Some(job) = answer(&mut paths, question, &counting) else { continue };
                    if answers.send(job).is_err() {
                        break;
                    }
                }
            })
            .map_err(|source| SteerError::Thread { source })?;
        Ok(Self { questions, counts })
    }

    /// How the source has answered so far.
    pub(crate) fn report(&self) -> SourceReport {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SourceReport {
            questions: read(&self.counts.questions),
            failures: read(&self.counts.failures),
            waited: Duration::from_micros(read(&self.counts.waited_us)),
            longest: Duration::from_micros(read(&self.counts.longest_us)),
        }
    }

    /// Asks. The answer comes as a job, and answers come in the order of the questions.
    pub(crate) fn ask(&self, question: Question) {
        // The thread lives as long as its steering does.
        let _ended = self.questions.send(question);
    }
}

impl Counts {
    fn note(&self, waited: Duration, failed: bool) {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.questions.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(failed.into(), Ordering::Relaxed);
        self.waited_us.fetch_add(waited, Ordering::Relaxed);
        self.longest_us.fetch_max(waited, Ordering::Relaxed);
    }
}

fn answer(paths: &mut Paths, question: Question, counts: &Counts) -> Option<Job> {
    let started = Instant::now();
    Some(match question {
        // Nobody waits for it any more.
        Question::Candidates { asked, .. } if asked.is_abandoned() => return None,
        Question::Candidates { asked, flow, query, deadline } => {
            let answer = paths.candidates(flow, query, deadline);
            let took = started.elapsed();
            match &answer {
                Ok(answer) if matches!(answer.origin, Origin::Cache { .. }) => {}
                other => counts.note(took, matches!(other, Err(PathError::Api(_)))),
            }
            Job::Answered { asked, answer: Box::new(answer), took }
        }
        Question::Topology { since, deadline } => {
            let topology = paths.topology_since(since, deadline);
            counts.note(started.elapsed(), topology.is_err());
            Job::Refreshed(topology)
        }
        Question::Known { notice, deadline } => {
            notice.give(paths.topology(deadline));
            return None;
        }
        Question::Settle(done) => Job::Settled(done),
    })
}
