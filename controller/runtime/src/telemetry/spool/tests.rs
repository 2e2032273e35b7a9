//! Order, bounds, kills and full disks.

use super::*;

/// A line with two values.
fn line(name: &str) -> String {
    let name = name.replace(' ', "\\ ").replace(',', "\\,");
    format!("m,n={name} a=1,b=2 7\n")
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// A batch of its own for each line; what was lost by each.
fn push(spool: &mut Spool, names: &[&str]) -> Vec<u64> {
    let pushed = names.iter().map(|name| {
        let lost = spool.append(&Lines::counted(line(name)), at(0));
        lost + spool.close()
    });
    pushed.collect()
}

/// Sends all that waits; its texts.
fn told(spool: &mut Spool) -> Vec<String> {
    std::iter::from_fn(|| {
        let batch = spool.take()?.expect("it can be read");
        spool.given(at(0));
        Some(batch.text.to_string())
    })
    .collect()
}

fn lines(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| line(name)).collect()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_former_runs_left_for_the_same_server_is_taken_over_in_order_and_once() {
    let out = tempfile::tempdir().unwrap();
    let spool =
        |run: &str, target: &str| Spool::open(out.path().join(run).join(SPOOL), 1_000_000, target);
    for (run, batches, target) in [
        ("2-run", &["c"][..], "here"),
        ("1-run", &["a", "b"], "here"),
        ("3-run", &["elsewhere"], "there"),
    ] {
        let mut left = spool(run, target);
        assert!(push(&mut left, batches).iter().all(|lost| *lost == 0));
    }
    let mut goes_on = spool("4-run", "here");
    push(&mut goes_on, &["of a run that goes on"]);

    let mut next = spool("5-run", "here");
    assert_eq!(next.adopt(), 0);
    assert_eq!(next.values(), 6);
    push(&mut next, &["d"]);
    // The run that goes on has lost nothing, and neither has the other server.
    assert_eq!(told(&mut goes_on), lines(&["of a run that goes on"]));
    assert_eq!(spool("3-run", "there").values(), 2);
    assert!(!out.path().join("1-run").join(SPOOL).exists());
    // Killed before it was done: the one after it gets all of that, once.
    drop(next);
    let mut last = spool("6-run", "here");
    assert_eq!(last.adopt(), 0);
    assert_eq!(told(&mut last), lines(&["a", "b", "c", "d"]));
    assert_eq!(last.end(), 0);
    let mut none = spool("7-run", "here");
    assert_eq!((none.adopt(), told(&mut none).len()), (0, 0));
}

#[test]
fn what_has_no_room_is_counted_when_it_is_taken_over() {
    let out = tempfile::tempdir().unwrap();
    let dir = |run: &str| out.path().join(run).join(SPOOL);
    let mut left = Spool::open(dir("1-run"), 1_000_000, "here");
    let [a, b, c] = ["a".repeat(200), "b".repeat(40), "c".repeat(40)];
    push(&mut left, &[&a, &b, &c]);
    drop(left);
    let mut next = Spool::open(dir("2-run"), 80, "here");
    assert_eq!(next.adopt(), 4, "one too large, and one that gave way");
    assert_eq!(told(&mut next), [line(&c)]);
}

#[test]
fn a_full_spool_gives_up_its_oldest_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let size = line("1").len() as u64;
    let open = || Spool::open(dir.path().join(SPOOL), 3 * size + 5, "here");
    let mut spool = open();
    assert_eq!(
        push(&mut spool, &["1", "2", "3", "4", "5"]),
        [0, 0, 0, 2, 2]
    );
    let large = line("9").repeat(9);
    assert_eq!(
        spool.append(&Lines::counted(large), at(0)),
        6 + 18,
        "it can never fit"
    );
    push(&mut spool, &["6", "7", "8", "9"]);
    // Another run finds the same.
    drop(spool);
    let mut spool = open();
    assert_eq!(spool.values(), 6);
    assert_eq!(told(&mut spool), lines(&["7", "8", "9"]));
}

#[test]
fn a_receipt_gives_way_before_anything_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let size = line("1").len() as u64;
    let mut spool = Spool::open(dir.path().join(SPOOL), 3 * size, "here");
    push(&mut spool, &["1", "2"]);
    spool.take().unwrap().unwrap();
    spool.given(at(0));
    assert_eq!(push(&mut spool, &["3", "4"]), [0, 0]);
    spool.recall();
    assert_eq!(told(&mut spool), lines(&["2", "3", "4"]));
}

#[test]
fn a_killed_process_leaves_every_line_that_was_put_here_and_no_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(SPOOL);
    let mut spool = Spool::open(folder.clone(), 1_000_000, "here");
    push(&mut spool, &["sent", "under way"]);
    spool.take().unwrap().unwrap();
    spool.given(at(0));
    spool.take().unwrap().unwrap();
    // It fills, and nobody ends it.
    assert_eq!(spool.append(&Lines::counted(line("1")), at(0)), 0);
    assert_eq!(spool.append(&Lines::counted(line("2")), at(0)), 0);
    assert_eq!(spool.values(), 6);
    drop(spool);
    let last = folder.join(name_of(3, ENDING));
    let whole = fs::read(&last).unwrap();
    for cut in 0..=whole.len() {
        // Also through a character that has two bytes.
        let mut torn = whole[..cut].to_vec();
        torn.extend("é".as_bytes().first());
        fs::write(&last, torn).unwrap();
        let found = Spool::open(folder.clone(), 1_000_000, "here");
        let complete = whole[..cut].iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(found.values(), 2 + 2 * complete, "{cut}");
    }
    let mut next = Spool::open(dir.path().join("2-run/spool"), 1_000_000, "here");
    let former = dir.path().join("1-run");
    fs::create_dir(&former).unwrap();
    fs::rename(&folder, former.join(SPOOL)).unwrap();
    assert_eq!(next.adopt(), 0);
    assert_eq!(told(&mut next), [line("under way"), line("1") + &line("2")]);
    assert!(!former.join(SPOOL).exists(), "the receipt has gone, too");
}

#[test]
fn what_was_acknowledged_last_can_be_sent_again_before_all_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(SPOOL);
    let mut spool = Spool::open(folder.clone(), 1_000_000, "here");
    for (name, given_at) in [("old", 1), ("a", 10), ("b", 15)] {
        push(&mut spool, &[name]);
        spool.take().unwrap().unwrap();
        spool.given(at(given_at));
    }
    spool.forget(at(20));
    assert_eq!(
        files(&folder),
        ["000000000002.sent", "000000000003.sent", TARGET]
    );
    push(&mut spool, &["c"]);
    assert_eq!(spool.values(), 2);
    spool.recall();
    assert_eq!(spool.values(), 2, "it was counted when it was acknowledged");
    let mut sent = Vec::new();
    while let Some(batch) = spool.take() {
        let batch = batch.unwrap();
        sent.push((batch.text.to_string(), batch.again));
        spool.given(at(21));
    }
    let expected = [("a", true), ("b", true), ("c", false)];
    assert_eq!(sent, expected.map(|(name, again)| (line(name), again)));
    assert_eq!(spool.end(), 0);
    assert!(!folder.exists());
}

#[test]
fn what_is_left_of_a_batch_stays_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(SPOOL);
    let mut spool = Spool::open(folder.clone(), 1_000_000, "here");
    spool.append(&Lines::counted(line("a") + &line("b") + &line("c")), at(0));
    spool.close();
    push(&mut spool, &["d"]);
    spool.take().unwrap().unwrap();
    spool.put_back(Some(line("b") + &line("c")));
    assert_eq!(spool.values(), 6);
    spool.take().unwrap().unwrap();
    spool.put_back(None);
    drop(spool);
    let mut next = Spool::open(folder, 1_000_000, "here");
    assert_eq!(told(&mut next), [line("b") + &line("c"), line("d")]);
}

#[test]
fn where_the_disk_takes_no_more_a_few_batches_wait_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(SPOOL);
    // A file stands where the folder should be.
    fs::write(&folder, "").unwrap();
    let mut spool = Spool::open(folder, 1_000_000, "here");
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lost = push(&mut spool, &names);
    assert_eq!(lost, [0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
    // A server takes them meanwhile; what it does not take, no later run can.
    for name in &names[2..5] {
        let batch = spool.take().unwrap().unwrap();
        assert_eq!(*batch.text, *line(name));
        spool.given(at(0));
    }
    assert_eq!(spool.end(), 10);
}

#[test]
fn a_disk_that_fills_within_a_batch_keeps_what_was_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(SPOOL);
    let mut spool = Spool::open(folder.clone(), 1_000_000, "here");
    spool.append(&Lines::counted(line("on disk")), at(0));
    let file = File::options().write(true).open("/dev/full").unwrap();
    spool.filling.as_mut().unwrap().file = Some(file);
    assert_eq!(spool.append(&Lines::counted(line("in memory")), at(0)), 0);
    assert_eq!(
        spool.append(&Lines::counted(line("in memory, too")), at(0)),
        0
    );
    spool.close();
    let all = [line("on disk"), line("in memory") + &line("in memory, too")];
    assert_eq!(spool.values(), 6);
    assert_eq!(told(&mut spool), all);
    let kept = fs::read_to_string(folder.join(name_of(1, RECEIPT))).unwrap();
    assert_eq!(kept, line("on disk"));
}
