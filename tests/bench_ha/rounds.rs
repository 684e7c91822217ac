//! Rounds of one kind of failover on one storage, under load.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::bed::Bed;
use crate::failover::{Failovers, Kind, Round};
use crate::head::Claims;
use crate::http::until;
use crate::load::Load;
use crate::place;

/// Writes before the event and after the recovery.
const SOME: usize = 150;
/// How much longer a node stays frozen or cut off after another has taken over.
const LONGER: Duration = Duration::from_millis(1500);
/// What a Service may take to stop sending new requests to a pod that ends.
const REMOVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Carries out `count` rounds.
pub async fn rounds(backend: &str, kind: Kind, count: usize) -> Failovers {
    println!("{backend}, {kind}: {count} rounds");
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("build/bench-ha/{backend}-{}", kind.name()));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    let mut bed = Bed::start(backend, kind.needs_links(), &folder).await;
    let claims = Claims::follow(place::connect(&bed.stanza()).await).await;
    let mut rounds = Vec::new();
    for number in 0..count {
        let round = round(&mut bed, &claims, kind, number).await;
        println!(
            "{:3}: first write elsewhere after {:.3} s, longest gap {:.3} s, {} requests, {} failed {:?}, leader changes {}",
            number + 1,
            round.first,
            round.gap,
            round.requests,
            round.failed.values().sum::<usize>(),
            round.failed,
            round.changes
        );
        round.wrong.iter().for_each(|wrong| println!("     WRONG {wrong}"));
        rounds.push(round);
    }
    Failovers { backend: backend.to_owned(), kind, rounds }
}

async fn round(bed: &mut Bed, claims: &Claims, kind: Kind, number: usize) -> Round {
    let old = bed.leader().await;
    if kind == Kind::Sigkill {
        bed.until_mature(old).await;
    }
    let epoch = claims.newest().unwrap().epoch;
    let load = Load::start(bed.clients(), &format!("{}/data/{}-{number}", bed.mount(), kind.name()));
    load.until_more(SOME).await;

    let event = Instant::now();
    let asked = begin(bed, kind, old);
    if kind == Kind::Sigterm {
        tokio::time::sleep(REMOVAL).await;
        load.remove(old);
    }
    let first = until("a write through another node", PATIENCE, || async {
        let claim = claims.after(epoch).ok_or("nobody claimed")?;
        load.first_elsewhere(event, old, claim.seq).ok_or_else(|| "no write yet".to_owned())
    })
    .await;
    let mut wrong = finish(bed, kind, old, asked).await;
    load.until_more(SOME).await;
    let mut report = load.end().await;
    // Only who has not ended can be asked.
    if matches!(kind, Kind::Sigterm | Kind::Sigkill | Kind::SigkillUnseen) {
        bed.restart(old).await;
    }
    bed.leader().await;
    report.verify(&bed.clients()).await;
    wrong.append(&mut report.wrong);
    if kind.is_planned() {
        report.texts.iter().for_each(|(text, count)| println!("     {count} × {text}"));
    }
    Round {
        first: (first - event).as_secs_f64(),
        gap: report.longest_gap(event).as_secs_f64(),
        requests: report.requests,
        failed: report.failed,
        changes: claims.newest().unwrap().epoch - epoch,
        wrong,
    }
}

/// The event itself; a request that is answered when it is over.
fn begin(bed: &Bed, kind: Kind, old: usize) -> Option<JoinHandle<u16>> {
    match kind {
        Kind::Sigterm => bed.signal(old, Signal::TERM),
        Kind::Sigkill | Kind::SigkillUnseen => bed.signal(old, Signal::KILL),
        Kind::Sigstop => bed.signal(old, Signal::STOP),
        Kind::Partition => bed.cut(old),
        Kind::StepDown => {
            let http = bed.clients().swap_remove(old);
            return Some(tokio::spawn(async move {
                http.call("PUT", "sys/step-down", None).await.map_or(0, |answer| answer.status)
            }));
        }
    }
    None
}

/// Ends what was begun, some time after another node took over.
async fn finish(bed: &mut Bed, kind: Kind, old: usize, asked: Option<JoinHandle<u16>>) -> Vec<String> {
    match kind {
        Kind::Sigterm | Kind::Sigkill | Kind::SigkillUnseen => bed.ended(old).await,
        Kind::Sigstop => {
            tokio::time::sleep(LONGER).await;
            bed.signal(old, Signal::CONT);
        }
        Kind::Partition => {
            tokio::time::sleep(LONGER).await;
            bed.heal(old);
        }
        Kind::StepDown => {}
    }
    match asked {
        Some(asked) => match asked.await.unwrap() {
            204 => Vec::new(),
            status => vec![format!("step-down was answered with {status}")],
        },
        None => Vec::new(),
    }
}
