//! One whole run: a world, its nodes, its clients and its faults.

use holdfast::base::random::Random;
use holdfast::vault::physical::{BatchId, Head};

use crate::history::{Time, Violation};
use crate::judge::judge;
use crate::node::{self, Message, Node, Want};
use crate::storage::Semantics;
use crate::variant::Variant;
use crate::world::event::{Effect, Event, Fault, NodeId, Reply, Step};
use crate::world::{Totals, World};

pub const SECOND: Time = 1_000_000;
pub const OPERATIONS: u64 = 200;
const KEYS: u64 = 4;
pub const COUNTERS: u64 = 2;
/// Clients ask until here; later the world is left alone, so that everything comes to its end.
pub const BUSY: Time = 40 * SECOND;
pub const END: Time = 75 * SECOND;

/// What is to happen in a run.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub semantics: Semantics,
    pub variant: Variant,
    /// Without faults, but for the one below; messages are late or lost all the same.
    pub is_calm: bool,
    /// The first node that leads then is asked to step down.
    pub step_down: Option<Time>,
    pub crash: Option<Crash>,
}

impl Scenario {
    /// A seed's own run: three, four and five nodes on one storage after the other.
    pub fn of(seed: u64) -> Self {
        let semantics = Semantics::ALL[(seed / 3) as usize % Semantics::ALL.len()];
        Self::on(semantics, seed, Variant::Right)
    }

    /// The run of a seed on this storage.
    pub fn on(semantics: Semantics, seed: u64, variant: Variant) -> Self {
        Self { seed, semantics, variant, is_calm: false, step_down: None, crash: None }
    }
}

/// A process that ends between two of its effects.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    pub node: NodeId,
    /// After this many effects that others could notice, counted from `since`.
    pub after: u64,
    pub since: Time,
    /// How long it is away.
    pub down: Time,
}

/// What happened.
pub struct Run {
    pub totals: Totals,
    /// When a node began to serve as the active one.
    pub served: Vec<(Time, NodeId)>,
    /// When each node had an effect that others could notice, in order.
    pub effects: Vec<(Time, NodeId)>,
    /// When clients were told that something is stored.
    pub acknowledged: Vec<Time>,
    pub crashed_at: Option<Time>,
}

fn faults(world: &mut World<Message>) {
    let nodes = world.nodes();
    let places = nodes as u64 + 2;
    let count = 5 + world.random.below(6);
    for _ in 0..count {
        let at = 3 * SECOND + world.random.below(BUSY - 3 * SECOND);
        let node = world.random.below(nodes as u64) as usize;
        let span = 100_000 + world.random.below(12 * SECOND);
        let fault = match world.random.below(12) {
            0..=2 => Fault::Pause { node, span },
            3 | 4 => Fault::Crash { node, down: span },
            5..=7 => {
                let other = world.random.below(places) as usize;
                let link = if world.random.below(2) == 0 { (node, other) } else { (other, node) };
                Fault::Cut { link, span }
            }
            8 => Fault::EditLock,
            9 => Fault::DeleteLock,
            10 => Fault::Elect { span: span / 4 },
            _ => Fault::Touch,
        };
        world.plan(at, fault);
    }
}

fn wants(world: &mut World<Message>, is_calm: bool) -> Vec<Want> {
    let mut wants = Vec::new();
    for op in 0..OPERATIONS {
        let want = match world.random.below(10) {
            0..=2 => Want::Write { key: world.random.below(KEYS) as u32, value: op + 1 },
            3..=7 => Want::Read { key: world.random.below(KEYS) as u32 },
            _ => Want::Increment { counter: world.random.below(COUNTERS) as u32 },
        };
        // In bursts, so that requests meet in a batch.
        let at = SECOND + (op / 4) * (BUSY - SECOND) / (OPERATIONS / 4) + world.random.below(20_000);
        let node = world.random.below(world.nodes() as u64) as usize;
        world.client(at, node, op);
        wants.push(want);
    }
    for _ in 0..if is_calm { 0 } else { 2 } {
        usurp(world, &mut wants);
    }
    wants
}

/// The leader is cut off and slandered while clients write and read one key in quick succession.
fn usurp(world: &mut World<Message>, wants: &mut Vec<Want>) {
    let at = 14 * SECOND + world.random.below(BUSY - 14 * SECOND);
    world.plan(at, Fault::Usurp { span: 1_500_000 });
    for n in 0..40 {
        let op = wants.len() as u64;
        wants.push(if n % 2 == 0 { Want::Write { key: 0, value: op + 1 } } else { Want::Read { key: 0 } });
        let node = world.random.below(world.nodes() as u64) as usize;
        world.client(at + n * 15_000 + world.random.below(10_000), node, op);
    }
}

fn founded(world: &World<Message>) -> Head {
    Head {
        cluster: "simulated".into(),
        lock: node::lock_name().into(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&world.random),
        node: "init".into(),
        format: node::FORMAT,
        time: node::founding_time(),
    }
}

/// Runs a scenario to its end, and judges it.
pub fn run(scenario: &Scenario) -> Result<Run, Violation> {
    let mut stage = Stage::new(scenario.clone());
    while stage.step()? {}
    stage.judge()
}

/// A run under way.
struct Stage {
    scenario: Scenario,
    world: World<Message>,
    nodes: Vec<Node>,
    wants: Vec<Want>,
    begun: Vec<Option<Time>>,
    ended: Vec<Option<(Time, Reply)>>,
    counted: u64,
    run: Run,
}

impl Stage {
    fn new(scenario: Scenario) -> Self {
        let Scenario { seed, semantics, variant, is_calm, .. } = scenario;
        let count = 3 + (seed % 3) as usize;
        let mut world: World<Message> = World::new(seed, count, semantics, variant);
        world.found(founded(&world));
        let nodes: Vec<Node> = (0..count).map(|id| Node::new(id, count, 1, variant)).collect();
        let wants = wants(&mut world, is_calm);
        if !is_calm {
            faults(&mut world);
            for _ in 0..world.random.below(3) {
                let at = 10 * SECOND + world.random.below(BUSY - 10 * SECOND);
                let id = world.random.below(count as u64) as usize;
                world.step_down_at(at, id, Message::StepDown);
            }
        }
        for id in 0..count {
            if let Some(at) = scenario.step_down {
                // Whoever does not lead has nothing to step down from.
                world.step_down_at(at, id, Message::StepDown);
            }
        }
        let run = Run {
            totals: Totals::default(),
            served: Vec::new(),
            effects: Vec::new(),
            acknowledged: Vec::new(),
            crashed_at: None,
        };
        let (begun, ended) = (vec![None; wants.len()], vec![None; wants.len()]);
        Self { scenario, world, nodes, wants, begun, ended, counted: 0, run }
    }

    /// Lets the next thing happen; false if nothing does any more.
    fn step(&mut self) -> Result<bool, Violation> {
        if let Some(damage) = self.world.storage.objects.damage.take() {
            return Err(damage);
        }
        match self.world.step(END) {
            Step::Idle => return Ok(false),
            Step::Lost(id) => self.lost(id),
            Step::Slander(id) => {
                let identity = self.nodes[id].identity.clone();
                for to in (0..self.nodes.len()).filter(|to| *to != id) {
                    self.world.tell(to, to, Message::Gone { identity: identity.clone() });
                }
            }
            Step::Handle { node: id, event } => self.handle(id, event),
        }
        Ok(true)
    }

    /// A process has ended: the others notice, and it comes back with nothing in its memory.
    fn lost(&mut self, id: NodeId) {
        let (count, identity) = (self.nodes.len(), self.nodes[id].identity.clone());
        for to in (0..count).filter(|to| *to != id) {
            self.world.tell(id, to, Message::Gone { identity: identity.clone() });
        }
        self.nodes[id] = Node::new(id, count, self.world.incarnation(id), self.scenario.variant);
    }

    fn handle(&mut self, id: NodeId, event: Event<Message>) {
        if let Event::Client { op } = &event {
            self.begun[*op as usize] = Some(self.world.now);
        }
        let did_serve = self.nodes[id].serving;
        self.nodes[id].handle(event, &self.world.view(id), &self.wants);
        let mut effects = std::mem::take(&mut self.nodes[id].out);
        let is_crash = self.cuts(id, &mut effects);
        let now = self.world.now;
        self.run.effects.extend(effects.iter().filter(|one| one.is_outward()).map(|_| (now, id)));
        for (op, reply) in self.world.apply(id, effects) {
            self.ended[op as usize].get_or_insert((now, reply));
            if matches!(reply, Reply::Written | Reply::Count(_)) {
                self.run.acknowledged.push(now);
            }
        }
        let down = self.scenario.crash.map_or(END, |crash| crash.down);
        if is_crash && self.world.crash(id, down) {
            self.run.crashed_at = Some(now);
            self.lost(id);
        } else if self.nodes[id].serving && !did_serve {
            self.run.served.push((now, id));
        }
    }

    /// Leaves those effects that a node has before it crashes; whether it crashes now.
    fn cuts(&mut self, id: NodeId, effects: &mut Vec<Effect<Message>>) -> bool {
        let Some(crash) = self.scenario.crash else { return false };
        let is_due = crash.node == id && self.world.now >= crash.since && self.run.crashed_at.is_none();
        if !is_due {
            return false;
        }
        let mut left = 0;
        for effect in effects.iter() {
            if self.counted == crash.after {
                break;
            }
            self.counted += u64::from(effect.is_outward());
            left += 1;
        }
        effects.truncate(left);
        self.counted == crash.after
    }

    fn judge(mut self) -> Result<Run, Violation> {
        judge(&self.world, &self.wants, &self.begun, &self.ended)?;
        let storage = &mut self.world.storage;
        if storage.semantics.is_object() {
            let committed = storage.content();
            storage.objects.judge(&storage.log, &committed)?;
        }
        let mut totals = self.world.totals.clone();
        totals.segments = self.world.storage.objects.counts.clone();
        (totals.ended, totals.late) = self.world.storage.row_counts();
        let ends = self.ended.iter().flatten();
        totals.operations = ends.filter(|(_, reply)| !matches!(reply, Reply::Refused)).count() as u64;
        let unknown = self.ended.iter().filter(|end| matches!(end, None | Some((_, Reply::Unknown))));
        totals.unknown += unknown.count() as u64;
        self.run.totals = totals;
        Ok(self.run)
    }
}
