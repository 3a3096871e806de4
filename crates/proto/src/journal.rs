//! What one side of a link has sent and the other has not confirmed yet, so that a
//! link outlives the connection that carries it: nothing is lost, nothing comes
//! twice. Pure; [`crate::Lasting`] does the rest.

use std::collections::VecDeque;

use crate::Weight;

/// A receiver that has nothing to say itself confirms after so many bytes. It
/// bounds what the sender keeps.
pub const CONFIRM_BYTES: usize = 256 * 1024;
/// The same in frames.
pub const CONFIRM_FRAMES: u64 = 64;

/// A number of frames that the peer cannot have: the two do not speak of the same link.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the peer says that it has {received} frames, of {sent} that were sent")]
pub struct Impossible {
    /// What the peer says.
    pub received: u64,
    /// What this side has sent.
    pub sent: u64,
}

/// Both directions of one side's link. Frames count from 1, those without messages
/// do not count.
#[derive(Debug)]
pub struct Journal<M> {
    // Sent and not confirmed, the oldest first.
    kept: VecDeque<Vec<M>>,
    confirmed: u64,
    received: u64,
    // What the peer was told last of `received`.
    told: u64,
    untold_bytes: usize,
}

impl<M> Default for Journal<M> {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            confirmed: 0,
            received: 0,
            told: 0,
            untold_bytes: 0,
        }
    }
}

impl<M: Clone + Weight> Journal<M> {
    /// A frame leaves; its copy is kept until it is confirmed.
    pub fn sent(&mut self, messages: &[M]) {
        self.kept.push_back(messages.to_vec());
    }

    /// How many frames were sent.
    pub fn sent_so_far(&self) -> u64 {
        self.confirmed + self.kept.len() as u64
    }

    /// The frame of this number, if it is kept.
    pub fn kept(&self, number: u64) -> Option<Vec<M>> {
        let place = number.checked_sub(self.confirmed + 1)?;
        self.kept.get(usize::try_from(place).ok()?).cloned()
    }

    /// A frame has come.
    pub fn took(&mut self, messages: &[impl Weight]) {
        if messages.is_empty() {
            return;
        }
        self.received += 1;
        self.untold_bytes += messages.iter().map(Weight::weight).sum::<usize>();
    }

    /// The peer says how many frames it has. One that comes late says less than is known.
    ///
    /// # Errors
    /// [`Impossible`] where it was not sent so many.
    pub fn confirm(&mut self, received: u64) -> Result<(), Impossible> {
        let sent = self.sent_so_far();
        if received > sent {
            return Err(Impossible { received, sent });
        }
        while self.confirmed < received && self.kept.pop_front().is_some() {
            self.confirmed += 1;
        }
        Ok(())
    }

    /// How many frames have come, to be told to the peer.
    pub fn tell(&mut self) -> u64 {
        self.told = self.received;
        self.untold_bytes = 0;
        self.received
    }

    /// Whether the peer is to be told although there is nothing else to say.
    pub fn must_tell(&self) -> bool {
        self.received - self.told >= CONFIRM_FRAMES || self.untold_bytes >= CONFIRM_BYTES
    }

    /// The peer goes on over a new connection and has so many frames. What follows
    /// them is to be sent again.
    ///
    /// # Errors
    /// [`Impossible`] also where what it lacks is not kept any more.
    pub fn go_on(&mut self, received: u64) -> Result<(), Impossible> {
        if received < self.confirmed {
            let sent = self.sent_so_far();
            return Err(Impossible { received, sent });
        }
        self.confirm(received)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Word(usize);

    impl Weight for Word {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn what_is_confirmed_is_kept_no_longer() {
        let mut journal = Journal::default();
        (0..3).for_each(|n| journal.sent(&[Word(n)]));
        assert_eq!(journal.kept(1), Some(vec![Word(0)]));
        assert_eq!(journal.confirm(2), Ok(()));
        assert_eq!(
            (journal.kept(2), journal.kept(3)),
            (None, Some(vec![Word(2)]))
        );
        assert_eq!(journal.kept(4), None);
        // A frame that was overtaken.
        assert_eq!(journal.confirm(1), Ok(()));
        assert_eq!(journal.sent_so_far(), 3);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut journal = Journal::default();
        (0..3).for_each(|n| journal.sent(&[Word(n)]));
        let impossible = |received| Err(Impossible { received, sent: 3 });
        assert_eq!(journal.confirm(4), impossible(4));
        assert_eq!(journal.confirm(2), Ok(()));
        assert_eq!(journal.go_on(1), impossible(1));
        assert_eq!(journal.go_on(4), impossible(4));
        assert_eq!(journal.go_on(3), Ok(()));
    }

    #[test]
    fn a_silent_receiver_confirms_now_and_then() {
        let mut journal = Journal::<Word>::default();
        for _ in 1..CONFIRM_FRAMES {
            journal.took(&[Word(1)]);
            assert!(!journal.must_tell());
        }
        // What carries no message is not counted, or confirmations would be confirmed.
        journal.took(&[Word(0); 0]);
        assert!(!journal.must_tell());
        journal.took(&[Word(1)]);
        assert!(journal.must_tell());
        assert_eq!(journal.tell(), CONFIRM_FRAMES);
        assert!(!journal.must_tell());
        journal.took(&[Word(CONFIRM_BYTES)]);
        assert!(journal.must_tell());
    }

    /// One side of a link in a test: what it has to say, and what it has heard.
    #[derive(Default)]
    struct Side {
        journal: Journal<Word>,
        // The next frame that the connection carries.
        next: u64,
        said: usize,
        heard: Vec<Word>,
    }

    impl Side {
        /// The next frame on its connection, if there is one.
        fn frame(&mut self, fresh: bool) -> Option<(Vec<Word>, u64)> {
            if self.next > self.journal.sent_so_far() {
                if !fresh {
                    return None;
                }
                self.journal.sent(&[Word(self.said)]);
                self.said += 1;
            }
            let messages = self.journal.kept(self.next)?;
            self.next += 1;
            Some((messages, self.journal.tell()))
        }

        fn take(&mut self, (messages, received): (Vec<Word>, u64)) {
            self.journal.took(&messages);
            self.heard.extend(messages);
            self.journal.confirm(received).expect("possible");
        }
    }

    /// What happens next in a test.
    #[derive(Debug, Clone)]
    enum Step {
        /// A side puts a frame on the wire.
        Send(usize),
        /// A side takes a frame from the wire.
        Take(usize),
        /// The connection breaks with all that it carries; another takes its place.
        Break,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..2usize).prop_map(Step::Send),
            8 => (0..2usize).prop_map(Step::Take),
            1 => Just(Step::Break),
        ]
    }

    /// Two sides and the wires to each of them.
    struct Pair {
        sides: [Side; 2],
        wires: [VecDeque<(Vec<Word>, u64)>; 2],
    }

    impl Pair {
        fn new() -> Self {
            let mut sides = [Side::default(), Side::default()];
            sides.iter_mut().for_each(|side| side.next = 1);
            Self {
                sides,
                wires: Default::default(),
            }
        }

        fn run(&mut self, step: &Step) {
            match *step {
                Step::Send(side) => self.wires[1 - side].extend(self.sides[side].frame(true)),
                Step::Take(side) => {
                    if let Some(frame) = self.wires[side].pop_front() {
                        self.sides[side].take(frame);
                    }
                }
                Step::Break => self.reconnect(),
            }
        }

        fn reconnect(&mut self) {
            self.wires.iter_mut().for_each(VecDeque::clear);
            for side in 0..2 {
                let has = self.sides[1 - side].journal.tell();
                self.sides[side].journal.go_on(has).expect("possible");
                self.sides[side].next = has + 1;
            }
        }

        /// Lets all that was said arrive.
        fn settle(&mut self) {
            for side in 0..2 {
                while let Some(frame) = self.sides[side].frame(false) {
                    self.wires[1 - side].push_back(frame);
                }
                while let Some(frame) = self.wires[1 - side].pop_front() {
                    self.sides[1 - side].take(frame);
                }
            }
        }
    }

    proptest! {
        /// However often the connection breaks, each side hears all that the other
        /// said, once and in order.
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice(steps in prop::collection::vec(step(), 0..300)) {
            let mut pair = Pair::new();
            for step in &steps {
                pair.run(step);
            }
            pair.reconnect();
            pair.settle();
            for side in 0..2 {
                let said: Vec<_> = (0..pair.sides[1 - side].said).map(Word).collect();
                prop_assert_eq!(&pair.sides[side].heard, &said);
            }
        }
    }
}
