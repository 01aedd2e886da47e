//! Whose turn it is: shares, bursts and caps, by the hand of a simulated clock.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SLICE: usize = 128 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// A link of a given speed under the scheduler, in simulated time: slices complete in the order of their posting.
struct Bench {
    scheduler: Scheduler,
    /// Bytes per second that the link really moves.
    speed: u64,
    now: Duration,
    /// When the last posted slice completes.
    busy_until: Duration,
    in_flight: VecDeque<(Duration, usize)>,
    /// Time, flow, bytes, whether the slice is a request's first.
    posted: Vec<(Duration, FlowId, usize, bool)>,
    owners: HashMap<u64, (FlowId, bool)>,
    next_token: u64,
}

impl Bench {
    fn new(window: u64, rate: u64, speed: u64) -> Self {
        let limits = Limits {
            window,
            slice: SLICE,
            rate,
        };
        Self {
            scheduler: Scheduler::new(limits, Duration::ZERO),
            speed,
            now: Duration::ZERO,
            busy_until: Duration::ZERO,
            in_flight: VecDeque::new(),
            posted: Vec::new(),
            owners: HashMap::new(),
            next_token: 0,
        }
    }

    fn flow(&mut self, share: Share) -> FlowId {
        self.scheduler.add_flow(share, self.now)
    }

    fn enqueue(&mut self, flow: FlowId, bytes: usize) -> u64 {
        self.next_token += 1;
        self.owners.insert(self.next_token, (flow, true));
        self.scheduler.enqueue(flow, bytes, Token(self.next_token));
        self.next_token
    }

    /// Posts all that may be posted, then moves on to the next completion or token time, at most to `end`.
    fn step(&mut self, end: Duration) {
        let wait = loop {
            match self.scheduler.next(self.now) {
                Next::Post { token, bytes } => self.post(token, bytes),
                Next::WaitUntil(time) => break time,
                Next::Idle => break end,
            }
        };
        let done = self.in_flight.front().map_or(end, |(time, _)| *time);
        self.now = wait.min(done).min(end);
        while let Some(&(time, bytes)) = self.in_flight.front() {
            if time > self.now {
                break;
            }
            self.in_flight.pop_front();
            self.scheduler.completed(bytes);
        }
    }

    fn post(&mut self, token: Token, bytes: usize) {
        let (flow, first) = self.owners[&token.0];
        self.owners.insert(token.0, (flow, false));
        let takes = Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.speed);
        self.busy_until = self.busy_until.max(self.now) + takes;
        self.in_flight.push_back((self.busy_until, bytes));
        self.posted.push((self.now, flow, bytes, first));
    }

    /// Runs until `end`, keeping each flow's queue filled with requests of its size.
    fn run(&mut self, end: Duration, load: &[(FlowId, usize)]) {
        while self.now < end {
            for &(flow, bytes) in load {
                let queued = self.scheduler.flow(flow).unwrap().queue.len();
                for _ in queued..4 {
                    self.enqueue(flow, bytes);
                }
            }
            self.step(end);
        }
    }

    fn bytes_of(&self, flow: FlowId, from: Duration, to: Duration) -> u64 {
        let within = |time: Duration| from <= time && time < to;
        let mine = self.posted.iter().filter(|(t, f, ..)| *f == flow && within(*t));
        mine.map(|(_, _, bytes, _)| *bytes as u64).sum()
    }

    fn requests_of(&self, flow: FlowId, from: Duration, to: Duration) -> u64 {
        let within = |time: Duration| from <= time && time < to;
        let mine = self
            .posted
            .iter()
            .filter(|(t, f, _, first)| *f == flow && within(*t) && *first);
        mine.count() as u64
    }

    /// The most that any window of a second holds.
    fn worst_second(&self, flow: FlowId, of: impl Fn(&Self, FlowId, Duration, Duration) -> u64) -> u64 {
        let starts = self.posted.iter().filter(|(_, f, ..)| *f == flow);
        starts
            .map(|(t, ..)| of(self, flow, *t, *t + SECOND))
            .max()
            .unwrap_or(0)
    }
}

fn weight(weight: u32) -> Share {
    Share {
        weight,
        ..Share::default()
    }
}

fn ratio(bench: &Bench, a: FlowId, b: FlowId, from: Duration) -> f64 {
    let end = bench.now + SECOND;
    bench.bytes_of(b, from, end) as f64 / bench.bytes_of(a, from, end) as f64
}

#[test]
fn weights_divide_a_bounded_window() {
    let mut bench = Bench::new(4 * SLICE as u64, 0, 1 << 30);
    let (a, b) = (bench.flow(weight(100)), bench.flow(weight(300)));
    bench.run(SECOND, &[(a, 1 << 20), (b, 1 << 20)]);
    let ratio = ratio(&bench, a, b, Duration::ZERO);
    assert!((2.85..3.15).contains(&ratio), "{ratio}");
}

#[test]
fn weights_divide_a_link_rate_whatever_the_request_sizes() {
    let mut bench = Bench::new(1 << 30, 100 << 20, 1 << 40);
    let (a, b) = (bench.flow(weight(100)), bench.flow(weight(300)));
    bench.run(4 * SECOND, &[(a, 4096), (b, 1 << 20)]);
    let ratio = ratio(&bench, a, b, SECOND);
    assert!((2.85..3.15).contains(&ratio), "{ratio}");
    let moved = bench.bytes_of(a, SECOND, 4 * SECOND) + bench.bytes_of(b, SECOND, 4 * SECOND);
    assert!((290 << 20..=310 << 20).contains(&moved), "{moved}");
}

#[test]
fn extreme_weights_hold_and_the_light_flow_does_not_starve() {
    let mut bench = Bench::new(4 * SLICE as u64, 0, 1 << 32);
    let (a, b) = (bench.flow(weight(1)), bench.flow(weight(10_000)));
    bench.run(10 * SECOND, &[(a, 1 << 20), (b, 1 << 20)]);
    let ratio = ratio(&bench, a, b, Duration::ZERO);
    assert!((9_000.0..11_000.0).contains(&ratio), "{ratio}");
}

#[test]
fn caps_hold_over_any_second_and_are_used() {
    let mut bench = Bench::new(1 << 30, 0, 1 << 40);
    let share = Share {
        bw: 50 << 20,
        iops: 0,
        ..Share::default()
    };
    let flow = bench.flow(share);
    bench.run(5 * SECOND, &[(flow, 1 << 20)]);
    let worst = bench.worst_second(flow, Bench::bytes_of);
    assert!(worst <= share.bw + share.burst_bytes(), "{worst}");
    assert!(bench.bytes_of(flow, SECOND, 5 * SECOND) >= 199 << 20);
}

#[test]
fn iops_count_requests_and_not_slices() {
    let mut bench = Bench::new(1 << 30, 0, 1 << 40);
    let share = Share {
        iops: 100,
        ..Share::default()
    };
    let flow = bench.flow(share);
    bench.run(5 * SECOND, &[(flow, 1 << 20)]);
    assert!(bench.worst_second(flow, Bench::requests_of) <= 110);
    assert!(bench.requests_of(flow, SECOND, 5 * SECOND) >= 399);
    assert!(bench.bytes_of(flow, SECOND, 5 * SECOND) >= 399 << 20);
}

#[test]
fn a_throttled_flow_blocks_nobody() {
    let mut bench = Bench::new(4 * SLICE as u64, 0, 1 << 30);
    let slow = bench.flow(Share {
        bw: 8192,
        ..Share::default()
    });
    let fast = bench.flow(weight(100));
    bench.run(SECOND, &[(slow, 1 << 20), (fast, 1 << 20)]);
    assert!(bench.bytes_of(fast, Duration::ZERO, SECOND) > 1000 << 20);
    let slowly = bench.bytes_of(slow, Duration::ZERO, SECOND);
    assert!((8192..=8192 + 4096).contains(&slowly), "{slowly}");
}

#[test]
fn a_small_request_behind_a_big_one_waits_for_one_slice() {
    let mut bench = Bench::new(SLICE as u64, 0, 1 << 30);
    let (big, small) = (bench.flow(weight(10_000)), bench.flow(weight(1)));
    bench.enqueue(big, 64 << 20);
    bench.step(SECOND);
    assert_eq!(bench.posted.len(), 1);
    bench.enqueue(small, 4096);
    bench.step(SECOND);
    assert_eq!(bench.posted[1].1, small);
}

#[test]
fn coming_and_going_gains_nothing() {
    // `shy` asks for one slice at a time and is idle in between; `greedy` always has work. Neither gets the better of the other.
    let mut bench = Bench::new(SLICE as u64, 0, 1 << 30);
    let (greedy, shy) = (bench.flow(weight(300)), bench.flow(weight(100)));
    while bench.now < SECOND {
        if bench.scheduler.flow(shy).unwrap().queue.is_empty() {
            bench.enqueue(shy, SLICE);
        }
        if bench.scheduler.flow(greedy).unwrap().queue.len() < 4 {
            bench.enqueue(greedy, 1 << 20);
        }
        bench.step(SECOND);
    }
    let ratio = ratio(&bench, shy, greedy, Duration::ZERO);
    assert!((2.85..3.15).contains(&ratio), "{ratio}");
}

#[test]
fn a_changed_share_is_felt_by_queued_work() {
    let mut bench = Bench::new(1 << 30, 0, 1 << 40);
    let flow = bench.flow(Share {
        bw: 4096,
        ..Share::default()
    });
    bench.enqueue(flow, 1 << 20);
    bench.step(SECOND / 2);
    assert_eq!(bench.posted.len(), 1);
    assert!(matches!(bench.scheduler.next(bench.now), Next::WaitUntil(_)));
    bench.scheduler.set_share(flow, Share::default(), bench.now);
    bench.step(SECOND);
    assert_eq!(bench.bytes_of(flow, Duration::ZERO, SECOND), 1 << 20);

    let slower = Share {
        bw: 10 << 20,
        ..Share::default()
    };
    bench.scheduler.set_share(flow, slower, bench.now);
    let from = bench.now;
    bench.run(from + 2 * SECOND, &[(flow, 1 << 20)]);
    let moved = bench.bytes_of(flow, from, from + SECOND);
    assert!(moved <= (10 << 20) + slower.burst_bytes(), "{moved}");
}

#[test]
fn removing_and_cancelling_leave_nothing_behind() {
    let mut bench = Bench::new(1 << 30, 0, 1 << 40);
    let share = Share {
        iops: 1,
        ..Share::default()
    };
    let (a, b) = (bench.flow(share), bench.flow(weight(100)));
    let first = bench.enqueue(a, 10);
    let second = bench.enqueue(a, 10);
    let third = bench.enqueue(a, 10);
    bench.step(Duration::ZERO);
    assert_eq!(bench.posted.len(), 1);
    bench.scheduler.cancel(a, Token(second));
    assert_eq!(bench.scheduler.remove_flow(a), [Token(third)]);
    assert_eq!(bench.scheduler.next(100 * SECOND), Next::Idle);
    bench.enqueue(a, 10);
    assert_eq!(bench.scheduler.next(100 * SECOND), Next::Idle);
    let anew = bench.flow(weight(100));
    assert_eq!(anew, a, "places are given out again");
    bench.enqueue(b, 10);
    bench.step(SECOND);
    assert_eq!(bench.posted.len(), 2);
    assert!(first < third);
}

#[test]
fn a_window_smaller_than_a_slice_still_moves_bytes() {
    let mut bench = Bench::new(1, 0, 1 << 30);
    let flow = bench.flow(weight(100));
    bench.enqueue(flow, 10_000);
    for _ in 0..4 {
        bench.step(SECOND);
    }
    assert_eq!(bench.bytes_of(flow, Duration::ZERO, SECOND), 10_000);
    assert!(bench.posted.iter().all(|(_, _, bytes, _)| *bytes <= 4096));
}

proptest! {
    /// Random loads, shares and changes: every byte is posted exactly once, no slice exceeds the limits, nothing hangs.
    #[test]
    fn everything_is_posted_once(
        window in 1u64..2_000_000,
        steps in proptest::collection::vec(
            (0usize..4, 1usize..2_000_000, 0u64..3, 1u32..10_001), 1..60),
    ) {
        let mut bench = Bench::new(window, 0, 1 << 28);
        let flows: Vec<_> = (0..4).map(|_| bench.flow(weight(100))).collect();
        let mut wanted = [0u64; 4];
        for (index, bytes, kind, weight) in steps {
            let share = Share { bw: kind * (20 << 20), iops: kind * 500, burst: 0, weight };
            bench.scheduler.set_share(flows[index], share, bench.now);
            bench.enqueue(flows[index], bytes);
            wanted[index] += bytes as u64;
            let soon = bench.now + Duration::from_millis(5);
            bench.step(soon);
        }
        let end = bench.now + 300 * SECOND;
        while bench.now < end {
            bench.step(end);
        }
        for (index, &flow) in flows.iter().enumerate() {
            prop_assert_eq!(bench.bytes_of(flow, Duration::ZERO, end), wanted[index]);
        }
        let largest = window.clamp(GRANULE, SLICE as u64);
        prop_assert!(bench.posted.iter().all(|(_, _, bytes, _)| (1..=largest).contains(&(*bytes as u64))));
        prop_assert_eq!(bench.scheduler.in_flight(), 0);
        prop_assert_eq!(bench.scheduler.next(end), Next::Idle);
    }
}
