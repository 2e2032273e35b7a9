//! The market card, and the way from an energy on it through the ledger.

use suite::bench::Controller;
use suite::browser::Browser;
use suite::{folder, run};

/// Clicks the first of what a selector finds.
fn click(browser: &mut Browser, selector: &str) {
    let found = browser.evaluate(&format!(
        "(() => {{ const found = document.querySelector({selector:?}); if (found) found.click(); return found != null; }})()"
    ));
    assert_eq!(found, true, "{selector} is not there");
}

#[test]
#[ignore = "needs peers"]
fn from_the_energy_of_a_participant_every_record_of_its_interval_is_one_click_away() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{}/", demo.page));
    browser.wait_until(
        "an interval is settled",
        "/, not settled yet$/.test([...document.querySelectorAll('#market-interval option')].map(o => o.text).join()) || [...document.querySelectorAll('#market-interval option')].some(o => o.value !== '' && !/not/.test(o.text))",
    );
    browser.wait_until(
        "a settled interval can be chosen",
        "(() => { const box = document.querySelector('#market-interval'), settled = [...box.options].find(o => o.value !== '' && !/not/.test(o.text)); if (!settled) return false; box.value = settled.value; box.dispatchEvent(new Event('change')); return true; })()",
    );
    browser.wait_until(
        "its book is drawn, with both curves and the price",
        "['demand', 'supply', 'cleared'].every(c => { const path = document.querySelector(`#book .${c}`); return path && path.getTotalLength() > 40; }) && document.querySelectorAll('#prices .bar').length > 0",
    );
    browser.wait_until(
        "each participant has what it committed to, what it did and what was booked",
        "(() => { const row = [...document.querySelectorAll('#positions tr')].find(r => r.innerText.startsWith('ess1')); return row && /(buys|sells) [\\d.]+ Wh of [\\d.]+ Wh/.test(row.innerText) && (row.innerText.match(/Wh/g) || []).length >= 4 && (row.innerText.match(/ct/g) || []).length === 2; })()",
    );
    // From the energy to its order, and from there to each of the rest and on to the next.
    let of_ess1 = "(() => { const row = [...document.querySelectorAll('#positions tr')].find(r => r.innerText.startsWith('ess1')); row.querySelector('button').click(); return true; })()";
    assert_eq!(browser.evaluate(of_ess1), true);
    browser.wait_until(
        "the order is shown",
        "document.querySelector('#entry').dataset.kind === 'order' && /ess1/.test(document.querySelector('#entry-title').innerText)",
    );
    for kind in [
        "clearing",
        "dispatch",
        "dispatch-ack",
        "meter-reading",
        "settlement",
        "order",
    ] {
        click(&mut browser, &format!("#entry ol[data-kind={kind}] button"));
        browser.wait_until(
            &format!("the {kind} is shown"),
            &format!("document.querySelector('#entry').dataset.kind === '{kind}'"),
        );
    }
    assert!(!browser.keep_picture("ledger").is_empty());
    // The list beside it goes back page by page, and can be narrowed down.
    let clocks = "[...document.querySelectorAll('#entries .t')].map(t => Number(t.innerText))";
    // The list grows at its top meanwhile, so that the page before begins anywhere below it.
    let newest = browser.evaluate(&format!("Math.max(...{clocks})"));
    let oldest = browser.evaluate(&format!("Math.min(...{clocks})"));
    click(&mut browser, "#explorer-older");
    browser.wait_until(
        "older entries are listed",
        &format!("{clocks}.length > 0 && Math.max(...{clocks}) < {newest} && Math.min(...{clocks}) < {oldest}"),
    );
    let _ = browser.evaluate("(() => { const box = document.querySelector('#explorer-kind'); box.value = 'clearing'; box.dispatchEvent(new Event('change')); })()");
    browser.wait_until(
        "clearings alone are listed",
        "(() => { const rows = [...document.querySelectorAll('#entries li')]; return rows.length > 0 && rows.every(r => r.dataset.kind === 'clearing'); })()",
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let run_dir = demo.end();
    assert_eq!(run::result(&run_dir)["verdict"], "pass");
}
