//! A process that commits all the time is killed, again and again: what it acknowledged is there, and nothing is half there.

use std::io::{BufRead, BufReader, Write};

use holdfast::config::FileStorage;
use holdfast::vault::physical::file::open;

use super::process::{command, given_folder};
use super::writer::{assert_whole, batch, begin, head_of, write};

const ROUNDS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_twenty_kills() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("vault");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child =
            command("file::crash::commits_until_it_is_killed", &folder).spawn().expect("a process");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut numbers = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("stored ").and_then(|number| number.parse::<u64>().ok()));
        // Another place within a commit in every round: the pause is part of what is tested, not waited for.
        for number in numbers.by_ref().take(usize::try_from(3 + round * 2).expect("few")) {
            acknowledged = number;
        }
        std::thread::sleep(std::time::Duration::from_micros(300 * round));
        child.kill().expect("a process to kill");
        // What it said before it died counts too.
        for number in numbers {
            acknowledged = number;
        }
        child.wait().expect("its end");
        let store = open(&FileStorage::at(&folder)).await.expect("a store that opens");
        let head = head_of(&store).await.expect("a head");
        assert!(
            head.seq == acknowledged || head.seq == acknowledged + 1,
            "round {round}: {acknowledged} was acknowledged, the store is at {}",
            head.seq
        );
        assert_whole(&store).await;
    }
    println!("{ROUNDS} kills, {acknowledged} commits acknowledged, all there");
    assert!(acknowledged > ROUNDS);
}

#[tokio::test]
#[ignore = "a process of its own, started by the test above"]
async fn commits_until_it_is_killed() {
    let Some(folder) = given_folder() else { return };
    let store = open(&FileStorage::at(folder)).await.expect("a store");
    let mut head = begin(&store).await;
    for _ in 0..100_000 {
        head = write(&store, &head, &batch(head.seq + 1)).await;
        let mut out = std::io::stdout().lock();
        // Fails, and ends this process, when nobody listens any more.
        writeln!(out, "stored {}", head.seq).and_then(|()| out.flush()).expect("a reader");
    }
}
