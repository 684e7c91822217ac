//! Three nodes in one process over one store, one lock and a network of function calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::outage::PATIENCE;
use super::*;
use crate::base::clock::{Clock, Moment, SystemClock, UnixMillis};
use crate::base::random::SystemRandom;
use crate::base::task::{Shutdown, spawn};
use crate::config::AcceptedRollback;
use crate::vault::physical::inmem::{InmemBackend, InmemRegister, Store};
use crate::vault::physical::{
    Backend, Commit, Consistency, Feed, HaBackend, Head, Ledger, Limits, Listing, LockName, LockRecord, Op,
    RegisterError, RegisterWatch, StorageError, SubmitError, Swap, Transaction, Value, Version, Versioned,
};

/// What one node's process can and cannot do any more.
#[derive(Default)]
struct Faults {
    /// Killed: nothing it sends arrives, nothing it waits for comes.
    is_dead: AtomicBool,
    /// The storage does not answer.
    is_cut: AtomicBool,
    /// The storage answers once this has ended.
    is_paused: AtomicBool,
}

impl Faults {
    async fn pass(&self) {
        while self.is_paused.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.is_dead.load(Ordering::SeqCst) || self.is_cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

struct Storage(InmemBackend, Arc<Faults>);

#[async_trait]
impl Backend for Storage {
    fn kind(&self) -> &'static str {
        "inmem"
    }
    fn limits(&self) -> Limits {
        self.0.limits()
    }
    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        self.1.pass().await;
        let answer = self.0.commit(expected, next, ops).await;
        self.1.pass().await;
        answer
    }
    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.0.list(prefix, after, limit).await
    }
    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.1.pass().await;
        self.0.check().await
    }
    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        self.0.follow(from).await
    }
}

struct Lock(InmemRegister, Arc<Faults>);

#[async_trait]
impl HaBackend for Lock {
    fn name(&self) -> LockName {
        self.0.name()
    }
    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        self.1.pass().await;
        self.0.read().await
    }
    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        self.1.pass().await;
        self.0.swap(expected, next).await
    }
    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        self.0.watch().await
    }
}

const CLUSTER: &str = "5f0c1d3a-9a0e-4a53-8f0e-3a0d2b6a7c11";

type Table = Arc<Mutex<BTreeMap<String, (Weak<Ha>, Arc<Faults>)>>>;

struct Network {
    table: Table,
    me: String,
}

#[async_trait]
impl PeerClient for Network {
    async fn ask(&self, peer: &PeerAddress, message: PeerRequest) -> Result<PeerResponse, PeerError> {
        let found = self.table.lock().unwrap().get(&peer.identity).cloned();
        let Some((node, faults)) = found else { return Err(PeerError::Refused("nobody".into())) };
        match node.upgrade() {
            Some(node) if !faults.is_dead.load(Ordering::SeqCst) => Ok(node.answer(&self.me, message).await),
            _ => Err(PeerError::Refused("gone".into())),
        }
    }
}

#[derive(Default)]
struct Vault(AtomicBool);

#[async_trait]
impl Candidate for Vault {
    fn is_unsealed(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
    async fn probe(&self, ledger: Arc<dyn Ledger>) -> Result<(), String> {
        ledger.get("probe", Consistency::Committed).await.map(|_| ()).map_err(|e| e.to_string())
    }
}

/// The system's clocks, the wall clock so many milliseconds off.
#[derive(Default)]
struct Stepped(AtomicI64);

impl Clock for Stepped {
    fn now(&self) -> Moment {
        SystemClock.now()
    }

    fn unix(&self) -> UnixMillis {
        UnixMillis(SystemClock.unix().0.saturating_add_signed(self.0.load(Ordering::SeqCst)))
    }
}

struct Node {
    ha: Arc<Ha>,
    clock: Arc<Stepped>,
    faults: Arc<Faults>,
    shutdown: Shutdown,
}

struct Cluster {
    nodes: Vec<Node>,
    backend: InmemBackend,
    register: InmemRegister,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        let (backend, register) = (InmemBackend::of(Store::new()), InmemRegister::new());
        let cluster = Self::on(backend, register, &["a_1_x", "b_1_x", "c_1_x"][..count], None, &[]);
        cluster.nodes[0].ha.initialise(CLUSTER, vec![]).await.unwrap();
        cluster.leader().await;
        cluster
    }

    /// New processes on a storage and a lock that are there, with wall clocks that are so many milliseconds off.
    fn on(
        backend: InmemBackend,
        register: InmemRegister,
        names: &[&str],
        accept_rollback: Option<AcceptedRollback>,
        off_ms: &[i64],
    ) -> Self {
        let table = Table::default();
        let mut nodes = Vec::new();
        for (number, &name) in names.iter().enumerate() {
            let faults = Arc::<Faults>::default();
            let mut settings = HaSettings::new(name, &format!("http://{name}"), &format!("https://{name}"));
            settings.lease_seconds = 2;
            settings.accept_rollback.clone_from(&accept_rollback);
            let shutdown = Shutdown::default();
            let clock = Arc::new(Stepped(AtomicI64::new(off_ms.get(number).copied().unwrap_or(0))));
            let ha = Ha::start(
                settings,
                Arc::new(Storage(backend.clone(), Arc::clone(&faults))),
                Some(Arc::new(Lock(register.clone(), Arc::clone(&faults)))),
                Arc::new(Network { table: Arc::clone(&table), me: name.to_owned() }),
                Arc::clone(&clock) as Arc<dyn Clock>,
                Arc::new(SystemRandom),
                Arc::new(Vault::default()),
                shutdown.clone(),
            );
            table.lock().unwrap().insert(name.to_owned(), (Arc::downgrade(&ha), Arc::clone(&faults)));
            nodes.push(Node { ha, clock, faults, shutdown });
        }
        Self { nodes, backend, register }
    }

    /// The node that leads, once one does and all others know it.
    async fn leader(&self) -> usize {
        let find = async {
            loop {
                let leads = |n: &Node| {
                    n.ha.status().borrow().role.is_active() && !n.faults.is_dead.load(Ordering::SeqCst)
                };
                if let Some(at) = self.nodes.iter().position(leads) {
                    let me = &self.nodes[at].ha.settings().identity;
                    let knows =
                        |n: &Node| n.ha.status().borrow().leader.as_ref().is_some_and(|l| l.identity == *me);
                    let alive = self.nodes.iter().filter(|n| !n.faults.is_dead.load(Ordering::SeqCst));
                    if alive.into_iter().all(knows) {
                        return at;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), find).await.expect("a leader")
    }

    /// Waits until every node says that the storage went back; why, by the first one.
    async fn all_refuse(&self) -> String {
        let stopped = async {
            for node in &self.nodes {
                node.ha.status().wait_for(|s| matches!(s.role, Role::RolledBack { .. })).await.unwrap();
            }
        };
        let stopped = tokio::time::timeout(Duration::from_secs(10), stopped).await;
        let roles: Vec<_> = self.nodes.iter().map(|n| n.ha.status().borrow().clone()).collect();
        stopped.unwrap_or_else(|_| panic!("all nodes stop: {roles:#?}"));
        self.nodes[0].ha.ledger().err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn kill(&self, at: usize) {
        self.nodes[at].faults.is_dead.store(true, Ordering::SeqCst);
        self.nodes[at].shutdown.trigger();
    }

    fn end(&self) {
        for node in &self.nodes {
            node.shutdown.trigger();
        }
    }
}

/// Adds one to a counter, as a request does: again until it is certain. `None`: it may have happened.
async fn add_one(ledger: &dyn Ledger, key: &str) -> Result<Option<u64>, SubmitError> {
    loop {
        let reading = ledger.get(key, Consistency::Pending).await?;
        let count = reading.value.map_or(0, |v| String::from_utf8_lossy(&v).parse::<u64>().unwrap()) + 1;
        let mut transaction = Transaction::default();
        transaction.note_read(key, reading.stamp);
        transaction.writes.insert(key.into(), Some(Bytes::from(count.to_string())));
        match ledger.submit(transaction).await {
            Ok(_) => return Ok(Some(count)),
            Err(SubmitError::Conflict | SubmitError::NotApplied) => {}
            Err(SubmitError::Unknown { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

async fn read(ledger: &dyn Ledger, key: &str, staleness: u64) -> Result<(u64, Option<u64>), SubmitError> {
    let pass = ledger.begin(staleness).await?;
    let reading = ledger.get(key, Consistency::Committed).await?;
    let confirmed = ledger.confirm(&pass, Some(reading.stamp)).await?;
    Ok((reading.value.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap()), confirmed.staleness_ms))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_active_acknowledged_every_node_reads() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let ledger = cluster.nodes[leader].ha.ledger().unwrap();
    assert!(ledger.is_writable());
    for round in 1..=20 {
        assert_eq!(add_one(&*ledger, "k").await.unwrap(), Some(round));
        for node in &cluster.nodes {
            assert_eq!(read(&*node.ha.ledger().unwrap(), "k", 0).await, Ok((round, None)));
        }
    }
    let standby = cluster.nodes[(leader + 1) % 3].ha.ledger().unwrap();
    assert_eq!(standby.submit(Transaction::default()).await.unwrap_err(), SubmitError::NotActive);
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_carries_no_nodes_time_away() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    for hours in [5, -5] {
        for node in &cluster.nodes {
            node.clock.0.store(hours * 3_600_000, Ordering::SeqCst);
            let time = node.ha.ledger().unwrap().time().0;
            let off = time.abs_diff(SystemClock.unix().0);
            assert!(off < 30_000, "{} is {off} ms off", node.ha.settings().identity);
            node.clock.0.store(0, Ordering::SeqCst);
        }
    }
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_off_from_its_start_goes_by_its_peers_and_does_not_lead() {
    const OFF: usize = 1;
    let names = ["a_1_x", "b_1_x", "c_1_x"];
    let off_ms = 3_600_000;
    let cluster =
        Cluster::on(InmemBackend::of(Store::new()), InmemRegister::new(), &names, None, &[0, off_ms, 0]);
    let off = &cluster.nodes[OFF];
    // Nobody knows yet: it does not come first.
    off.faults.is_cut.store(true, Ordering::SeqCst);
    cluster.nodes[0].ha.initialise(CLUSTER, vec![]).await.unwrap();
    until("one of the others leads", || {
        [0, 2].iter().any(|n| cluster.nodes[*n].ha.status().borrow().role.is_active())
    })
    .await;
    off.faults.is_cut.store(false, Ordering::SeqCst);
    cluster.leader().await;
    let off_by = |node: &Node| {
        node.ha.ledger().map_or(u64::MAX, |ledger| ledger.time().0.abs_diff(SystemClock.unix().0))
    };
    until("it goes by the time of the others", || off_by(off) < 30_000).await;
    assert!(off.ha.clock_skew_ms().abs_diff(off_ms) < 30_000, "{}", off.ha.clock_skew_ms());
    for _ in 0..2 {
        let leader = cluster.leader().await;
        assert_ne!(leader, OFF);
        assert!(cluster.nodes[leader].ha.clock_skew_ms().abs() < 30_000);
        cluster.nodes[leader].ha.step_down().await.unwrap();
    }
    let before = cluster.leader().await;
    assert_ne!(before, OFF);
    off.clock.0.store(0, Ordering::SeqCst);
    until("it is believed again", || {
        let known = cluster.nodes[before].ha.peers();
        off.ha.clock_skew_ms().abs() < 30_000
            && known.iter().any(|peer| peer.identity == names[OFF] && peer.is_able)
    })
    .await;
    // The third one rests, because it has just stepped down.
    cluster.nodes[before].ha.step_down().await.unwrap();
    assert_eq!(cluster.leader().await, OFF);
    assert!(off_by(off) < 30_000);
    cluster.end();
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_another_leads_and_nothing_acknowledged_is_lost() {
    let cluster = Arc::new(Cluster::start(3).await);
    let old = cluster.leader().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let ledger = cluster.nodes[old].ha.ledger().unwrap();
    let (count, old_ledger) = (Arc::clone(&acknowledged), Arc::clone(&ledger));
    let writer = spawn("writer", async move {
        while let Ok(Some(last)) = add_one(&*old_ledger, "k").await {
            count.store(last, Ordering::SeqCst);
        }
    });
    while acknowledged.load(Ordering::SeqCst) < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.kill(old);
    let new = cluster.leader().await;
    assert_ne!(new, old);
    let after = acknowledged.load(Ordering::SeqCst);
    let (found, _) = read(&*cluster.nodes[new].ha.ledger().unwrap(), "k", 0).await.unwrap();
    assert!(found >= after && found <= after + 1, "{after} acknowledged, {found} found");
    assert!(read(&*ledger, "k", 0).await.is_err(), "the old active answers nothing");
    writer.abort();
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_under_load_fails_no_request() {
    let cluster = Arc::new(Cluster::start(3).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for client in 0..4 {
        let (cluster, stop) = (Arc::clone(&cluster), Arc::clone(&stop));
        clients.push(spawn("client", async move {
            let key = format!("k{client}");
            let mut done = 0;
            while !stop.load(Ordering::SeqCst) {
                // What http does: hold while nobody leads, forward what was certainly not carried out.
                let Some(admission) =
                    cluster.nodes.iter().find_map(|n| n.ha.admit().ok().filter(|a| a.ledger.is_writable()))
                else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                };
                match add_one(&*admission.ledger, &key).await {
                    Ok(Some(count)) => {
                        done += 1;
                        assert_eq!(count, done, "each is carried out once");
                    }
                    Err(SubmitError::NotActive) => {}
                    other => panic!("{other:?}"),
                }
            }
            (key, done)
        }));
    }
    for _ in 0..2 {
        let old = cluster.leader().await;
        // Greetings tell the active who could take over.
        while cluster.nodes[old].ha.peers().iter().filter(|peer| peer.is_able && !peer.is_active).count() == 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.nodes[old].ha.step_down().await.unwrap();
        assert_ne!(cluster.leader().await, old);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::SeqCst);
    let leader = cluster.leader().await;
    for client in clients {
        let (key, done) = client.await.unwrap();
        assert_eq!(read(&*cluster.nodes[leader].ha.ledger().unwrap(), &key, 0).await.unwrap().0, done);
        assert!(done > 10, "{done}");
    }
    assert_eq!(cluster.backend.snapshot().head().unwrap().epoch, 3, "two handovers, two claims");
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_pauses_fails_no_request() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let ledger = cluster.nodes[leader].ha.ledger().unwrap();
    add_one(&*ledger, "k").await.unwrap();
    let pause = async {
        let all = || cluster.nodes.iter().map(|node| &node.faults.is_paused);
        all().for_each(|is_paused| is_paused.store(true, Ordering::SeqCst));
        // Longer than one check may take, and than the read lease.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        all().for_each(|is_paused| is_paused.store(false, Ordering::SeqCst));
    };
    let write = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        add_one(&*ledger, "k").await
    };
    let late_read = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        read(&*ledger, "j", 0).await
    };
    let ((), written, seen) = tokio::join!(pause, write, late_read);
    assert_eq!(written, Ok(Some(2)));
    assert_eq!(seen, Ok((0, None)));
    assert_eq!(cluster.leader().await, leader, "nobody took over");
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_storage_is_away_every_request_is_told_so() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let ledger = cluster.nodes[leader].ha.ledger().unwrap();
    add_one(&*ledger, "k").await.unwrap();
    for node in &cluster.nodes {
        node.faults.is_cut.store(true, Ordering::SeqCst);
    }
    tokio::time::sleep(readlease::WINDOW).await;
    // Who asks first waits as long as it may be a pause.
    let most = PATIENCE + Duration::from_secs(2);
    let answer = tokio::time::timeout(most, read(&*ledger, "k", 0)).await.expect("in time");
    assert!(matches!(answer, Err(SubmitError::Storage(_))), "{answer:?}");
    for node in &cluster.nodes {
        let ledger = node.ha.ledger().unwrap();
        let answer =
            tokio::time::timeout(Duration::from_secs(1), read(&*ledger, "k", 0)).await.expect("in time");
        let Err(SubmitError::Storage(error)) = &answer else { panic!("{answer:?}") };
        assert_eq!(error.to_string().matches("storage inmem is unavailable").count(), 1, "{error}");
    }
    for _ in 0..2 {
        let answer =
            tokio::time::timeout(Duration::from_millis(1300), add_one(&*ledger, "k")).await.expect("in time");
        assert!(matches!(answer, Ok(None) | Err(SubmitError::Storage(_))), "{answer:?}");
    }
    let (count, staleness) = read(&*ledger, "k", 60_000).await.unwrap();
    assert!((1..=2).contains(&count) && staleness.is_some_and(|ms| ms >= 500), "{count} {staleness:?}");
    for node in &cluster.nodes {
        node.faults.is_cut.store(false, Ordering::SeqCst);
    }
    let works = async {
        loop {
            let leader = cluster.leader().await;
            let ledger = cluster.nodes[leader].ha.ledger().unwrap();
            if let Ok(Some(count)) = add_one(&*ledger, "k").await {
                return count;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let count = tokio::time::timeout(Duration::from_secs(15), works).await.expect("works again");
    assert!((2..=3).contains(&count), "{count}");
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_and_reads_of_the_queue_see_what_is_pending_and_take_it_back() {
    let cluster = Cluster::start(1).await;
    let ledger = cluster.nodes[cluster.leader().await].ha.ledger().unwrap();
    for key in ["p/a", "p/b", "p/c", "q"] {
        add_one(&*ledger, key).await.unwrap();
    }
    let mut delete = Transaction::default();
    delete.writes.insert("p/b".into(), None);
    ledger.submit(delete).await.unwrap();
    let keys = ledger.list("p/", None, 10, Consistency::Pending).await.unwrap();
    assert_eq!((keys.keys, keys.more), (vec!["p/a".to_owned(), "p/c".to_owned()], false));
    let cut = ledger.list("p/", None, 1, Consistency::Pending).await.unwrap();
    assert_eq!((cut.keys, cut.more), (vec!["p/a".to_owned()], true));
    let mut stale = Transaction::default();
    stale.note_list("p/", cut.stamp);
    add_one(&*ledger, "p/z").await.unwrap();
    stale.writes.insert("x".into(), Some(Bytes::new()));
    assert_eq!(ledger.submit(stale).await.unwrap_err(), SubmitError::Conflict);
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_went_back_in_time_is_served_by_nobody() {
    let cluster = Cluster::start(3).await;
    let before = cluster.backend.snapshot();
    let leader = cluster.leader().await;
    let ledger = cluster.nodes[leader].ha.ledger().unwrap();
    add_one(&*ledger, "k").await.unwrap();
    // A node that never saw the lost write has nothing to tell the old storage by.
    let written = cluster.backend.check().await.unwrap().map(|head| head.seq);
    let seen = async {
        for node in &cluster.nodes {
            while node.ha.status().borrow().head.as_ref().map(|head| head.seq) < written {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("every node sees the write");
    cluster.backend.restore(before);
    cluster.all_refuse().await;
    assert!(read(&*ledger, "k", 0).await.is_err());
    for node in &cluster.nodes {
        assert!(matches!(node.ha.ledger(), Err(NoLedger::RolledBack(_))));
        assert!(node.ha.initialise("other", vec![]).await.is_err());
    }
    cluster.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_accepts_no_rollback_and_a_person_accepts_exactly_one() {
    let cluster = Cluster::start(1).await;
    add_one(&*cluster.nodes[0].ha.ledger().unwrap(), "k").await.unwrap();
    let before = cluster.backend.snapshot();
    let (backend, register) = (cluster.backend.clone(), cluster.register.clone());
    cluster.kill(0);
    let cluster = Cluster::on(backend.clone(), register.clone(), &["a_2_x"], None, &[]);
    cluster.leader().await;
    add_one(&*cluster.nodes[0].ha.ledger().unwrap(), "k").await.unwrap();
    let lost = cluster.backend.check().await.unwrap().unwrap();
    // All processes end, and the storage is restored before one starts again.
    cluster.kill(0);
    backend.restore(before);
    let kept = backend.check().await.unwrap().unwrap();
    let cluster = Cluster::on(backend.clone(), register.clone(), &["a_3_x"], None, &[]);
    let text = cluster.all_refuse().await;
    let value = text.split('"').nth(1).unwrap_or_default();
    let accepted = AcceptedRollback::parse(value).unwrap_or_else(|| panic!("{text}"));
    assert_eq!((accepted.position(), accepted.over), (kept.position(), lost.epoch), "{text}");
    assert_eq!(backend.check().await.unwrap(), Some(kept));

    cluster.kill(0);
    let cluster = Cluster::on(backend.clone(), register.clone(), &["a_4_x"], Some(accepted), &[]);
    cluster.leader().await;
    let ledger = cluster.nodes[0].ha.ledger().unwrap();
    assert_eq!(add_one(&*ledger, "k").await.unwrap(), Some(2), "the history that was accepted goes on");
    assert_eq!(backend.check().await.unwrap().map(|head| head.epoch), Some(lost.epoch + 1));
    cluster.end();
}
