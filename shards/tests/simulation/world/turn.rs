//! One turn of a worker, in the order in which the rim does it.

use shards::mail::{Batch, Letter, Origin};
use shards::request::{ChannelAction, Reply, Request, TopicAction};
use shards::shard::{Effect, Socket};

use super::ledger::Order;
use super::pipes::Place;
use super::{Canary, Mail, Worker, World, name};

impl World {
    /// Lets one worker turn.
    pub fn turn(&mut self, worker: usize) {
        self.steps += 1;
        self.workers[worker].shard.begin_turn(self.now);
        self.ledger.set_wall(self.now.wall_ns);
        self.end_waits(worker);
        self.look(worker);
        if !self.workers[worker].shard.is_starting() {
            self.take_input(worker);
        }
        self.take_disk_events(worker);
        self.write_journal(worker);
        if self.folder.stands_still {
            // It ended within the turn: nobody is told of it.
            return;
        }
        self.workers[worker].shard.finish_turn();
        // What waited for room may have made a topic.
        self.hear_discovery(worker);
        self.settle(worker);
        for index in self.workers[worker].connections.clone() {
            if self.connections[index].moving.is_some() && (self.calm || self.random.chance(50)) {
                self.depart(worker, index);
            }
        }
        self.write_metadata(worker);
        self.post(worker);
        self.hear(worker);
        self.ask_disk(worker);
    }

    /// What came from outside and from other workers.
    fn take_input(&mut self, worker: usize) {
        self.answer_questions(worker);
        for index in self.workers[worker].connections.clone() {
            self.feed(worker, index);
            self.look(worker);
        }
        self.take_mail(worker);
        self.take_asks(worker);
    }

    fn take_disk_events(&mut self, worker: usize) {
        self.workers[worker].shard.disk_is_short(self.folder.is_short);
        if self.workers[worker].shard.watches_old_files() && self.folder.old_files_are_gone() {
            self.workers[worker].shard.old_files_are_gone();
        }
        let Worker { shard, queue, .. } = &mut self.workers[worker];
        self.folder.work(queue, self.calm);
        let mut some = false;
        while let Some(event) = queue.next_event() {
            shard.disk_event(event);
            some = true;
        }
        self.hear_of_damage();
        if some {
            self.look(worker);
        }
    }

    /// The ledger hears what the disk may have lost.
    pub(super) fn hear_of_damage(&mut self) {
        for number in std::mem::take(&mut self.folder.endangered) {
            self.ledger.endangered(number);
        }
    }

    /// What happened in this turn is written down.
    fn write_journal(&mut self, worker: usize) {
        let shard = &mut self.workers[worker].shard;
        shard.prepare_journal();
        for attempt in 0..2 {
            let Some(batch) = shard.journal_batch() else { break };
            let (file, result) = (batch.file, self.folder.append(&batch));
            let failed = result.is_err();
            shard.journal_appended(result);
            if !failed {
                let of_worker =
                    |topic: &str| usize::from(self.placement.owner(&name(topic))) == worker;
                self.folder.note(file, self.ledger.take_unwritten(of_worker));
            }
            if self.folder.stands_still {
                return;
            }
            if failed && attempt == 1 && shard.journal_batch().is_some() {
                self.ledger.complain("a third append is wanted".to_owned());
            }
        }
        self.look(worker);
    }

    fn ask_disk(&mut self, worker: usize) {
        let Worker { shard, queue, .. } = &mut self.workers[worker];
        while let Some(request) = shard.take_disk_request() {
            queue.ask(&self.folder, request);
        }
    }

    /// Operators hear what became of what they asked.
    fn hear(&mut self, worker: usize) {
        while let Some((ticket, reply)) = self.workers[worker].shard.take_reply() {
            if let Some(publish) = self.ledger.replied(ticket, &reply, self.now.mono_ms) {
                self.check_promise(publish);
            }
            self.replies.push((ticket, reply));
        }
    }

    /// Takes in at once what came of one input, so that the ledger knows the order of everything.
    pub(super) fn look(&mut self, worker: usize) {
        self.hear_discovery(worker);
        let effects = self.workers[worker].shard.take_effects();
        for index in order_of_looks(&effects, &self.workers[worker].connections) {
            match self.connections[index].place {
                Place::At(at, key) if at == worker => self.tap(worker, index, key),
                _ => {}
            }
        }
        for &effect in &effects {
            self.carry_out(worker, effect);
        }
        self.workers[worker].shard.reuse_effects(effects);
        self.ledger.tick();
    }

    /// Effects and output, until there is neither.
    fn settle(&mut self, worker: usize) {
        loop {
            let mut idle = !self.carry_out_effects(worker);
            while let Some((key, Socket(index))) = self.workers[worker].shard.take_dirty() {
                idle = false;
                self.send(worker, index as usize, key);
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out_effects(&mut self, worker: usize) -> bool {
        let effects = self.workers[worker].shard.take_effects();
        let some = !effects.is_empty();
        for &effect in &effects {
            self.carry_out(worker, effect);
        }
        self.workers[worker].shard.reuse_effects(effects);
        some
    }

    fn carry_out(&mut self, worker: usize, effect: Effect) {
        let here = |place| matches!(place, Place::At(at, _) if at == worker);
        match effect {
            Effect::Move(Socket(index), to) => {
                let index = index as usize;
                if here(self.connections[index].place) {
                    self.connections[index].moving = Some(to);
                    if self.calm || self.random.chance(50) {
                        self.depart(worker, index);
                    }
                }
            }
            Effect::Close(Socket(index)) => {
                let index = index as usize;
                // A client that moved on is not this worker's to close.
                if here(self.connections[index].place) {
                    let connection = &mut self.connections[index];
                    connection.place = Place::Closed;
                    connection.to_server.clear();
                    connection.stuck = false;
                    self.workers[worker].connections.retain(|&other| other != index);
                    self.ledger.closed(index);
                }
            }
            Effect::Finish(_) => {}
            Effect::Pause(Socket(index)) => {
                self.connections[index as usize].paused = true;
                self.ledger.paused(index as usize);
            }
            Effect::Upgrade(..) | Effect::UpgradeOverdue(_) | Effect::Crowded(_) => {
                unreachable!("clients of this world ask for no layers")
            }
            Effect::Resume(Socket(index)) => self.connections[index as usize].paused = false,
        }
    }

    fn depart(&mut self, worker: usize, index: usize) {
        let connection = &mut self.connections[index];
        let (Place::At(_, key), Some(to)) = (connection.place, connection.moving.take()) else {
            return;
        };
        let Some(departure) = self.workers[worker].shard.depart(key) else { return };
        connection.place = Place::Travelling;
        connection.stuck = false;
        connection.paused = false;
        self.workers[worker].connections.retain(|&other| other != index);
        let lanes = &mut self.workers[usize::from(to)].mail[worker];
        lanes[1].push_back(Mail::Arrival(index, departure));
    }

    fn take_mail(&mut self, worker: usize) {
        for from in 0..self.workers.len() {
            for lane in 0..2 {
                while self.calm || self.random.chance(60) {
                    let lanes = &mut self.workers[worker].mail[from];
                    let Some(mail) = lanes[lane].pop_front() else { break };
                    self.open(worker, from, mail);
                    self.look(worker);
                }
            }
        }
    }

    fn open(&mut self, worker: usize, from: usize, mail: Mail) {
        match mail {
            Mail::Letter(Letter::Ask(ticket, request)) => {
                let order = self.ledger.order(&request);
                self.workers[worker].shard.mail(from as u16, Letter::Ask(ticket, request));
                self.post(worker);
                if let Some(order) = order {
                    let reply = match self.workers[from].mail[worker][1].back() {
                        Some(Mail::Letter(Letter::Reply(other, reply))) if *other == ticket => {
                            reply
                        }
                        // Nobody waits for it: a shard asks for a topic to be made.
                        _ => &Reply::Done,
                    };
                    self.ledger.carried_out(order, reply, self.now.mono_ms);
                    self.sabotage(worker, order);
                }
            }
            Mail::Letter(letter) => {
                if let Letter::Publishes(batch) = &letter {
                    let mut bytes = &batch.bytes[..];
                    for forward in &batch.forwards {
                        let (messages, behind) = bytes.split_at(forward.length as usize);
                        bytes = behind;
                        if let Origin::Transfer(..) = forward.origin {
                            continue;
                        }
                        self.ledger.reached(forward.topic.as_str(), messages, self.now.mono_ms);
                    }
                }
                self.workers[worker].shard.mail(from as u16, letter);
            }
            Mail::Arrival(index, departure) => {
                let socket = Socket(index as u64);
                // Effects of the arrival itself must find it here.
                let key = self.workers[worker].shard.adopt(socket, departure);
                let connection = &mut self.connections[index];
                connection.place = Place::At(worker, key);
                connection.paused = false;
                self.workers[worker].connections.push(index);
                self.workers[worker].shard.start(key);
            }
        }
    }

    fn take_asks(&mut self, worker: usize) {
        while let Some((to, ticket, request)) = self.workers[worker].asks.pop_front() {
            self.ledger.asked(ticket, &request, self.now.mono_ms);
            let order = self.ledger.order(&request);
            self.workers[worker].shard.ask(to, ticket, request);
            self.hear(worker);
            if let Some(order) = order
                && let Some((_, reply)) = self.replies.last().filter(|(other, _)| *other == ticket)
            {
                self.ledger.carried_out(order, reply, self.now.mono_ms);
                self.sabotage(worker, order);
            }
            self.look(worker);
        }
    }

    /// Does what no operator asked, behind the ledger's back, when there is a canary for it.
    fn sabotage(&mut self, worker: usize, order: Order) {
        let (topics, channels) = (&self.settings.topics, &self.settings.channels);
        let channel = |topic: usize, channel: usize, action| {
            Request::Channel(name(topics[topic]), name(channels[channel]), action)
        };
        let request = match (self.settings.canary, order) {
            _ if self.canary_done => return,
            (Some(Canary::ForgetPause), Order::Channel(t, c, Some(ChannelAction::Pause))) => {
                channel(t, c, ChannelAction::Unpause)
            }
            (Some(Canary::LoseChannel), Order::Channel(t, c, Some(ChannelAction::Unpause))) => {
                channel(t, c, ChannelAction::Delete)
            }
            (Some(Canary::LoseHeld), Order::Topic(topic, _)) if self.ledger.holds(topic) => {
                Request::Topic(topics[topic].to_owned(), TopicAction::Empty)
            }
            _ => return,
        };
        let shard = &mut self.workers[worker].shard;
        shard.ask(worker as u16, u64::MAX - 1, request);
        self.canary_done = matches!(shard.take_reply(), Some((_, Reply::Done)));
    }

    fn post(&mut self, worker: usize) {
        while let Some((to, letter)) = self.workers[worker].shard.take_letter() {
            let canary = self.settings.canary.filter(|_| !self.canary_done);
            let dead = |batch: &Batch| {
                batch.forwards.iter().all(|one| matches!(one.origin, Origin::Transfer(..)))
            };
            let lost = canary == Some(Canary::LoseLetter)
                || canary == Some(Canary::LoseDeadLetter)
                    && matches!(&letter, Letter::Publishes(batch) if dead(batch));
            if lost && matches!(letter, Letter::Publishes(_)) {
                self.canary_done = true;
                continue;
            }
            let lane = usize::from(letter.is_answer());
            self.workers[usize::from(to)].mail[worker][lane].push_back(Mail::Letter(letter));
        }
    }
}

/// Connections whose commands waited come first, in the order in which those were carried out.
fn order_of_looks(effects: &[Effect], connections: &[usize]) -> Vec<usize> {
    let resumed = effects.iter().enumerate().filter_map(|(at, effect)| match effect {
        // Some are resumed in vain before.
        Effect::Resume(Socket(index)) if !effects[at + 1..].contains(effect) => {
            Some(*index as usize)
        }
        _ => None,
    });
    resumed.chain(connections.iter().copied()).collect()
}
