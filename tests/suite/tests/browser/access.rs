//! The page for those who see, point or read otherwise: contrast, keyboard, names, a phone's width.

use serde_json::Value;
use suite::bench::Controller;
use suite::browser::Browser;
use suite::folder;

/// Texts whose contrast is below what WCAG 2.1 asks for at level AA (1.4.3): 4.5, or 3 for large ones.
/// Pictures have a text of their own, and what is disabled is exempt.
const FAINT: &str = r"(() => {
  const channels = (c) => (c.match(/[\d.]+/g) || []).map(Number);
  const part = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const behind = (node) => { for (let n = node; n; n = n.parentElement) { const c = channels(getComputedStyle(n).backgroundColor); if (c.length && (c.length < 4 || c[3] > 0)) return c; } return [255, 255, 255]; };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    if (node.closest('svg, noscript, script, select') || node.disabled || !node.checkVisibility()) continue;
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim())) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const [a, b] = [light(channels(style.color)), light(behind(node))], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${node.tagName} ${node.className} ${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
  }
  return faint;
})()";

/// What has the focus, and whether that can be seen.
const FOCUS: &str = r"(() => {
  const node = document.activeElement, style = getComputedStyle(node);
  return [node.id || node.className || node.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1];
})()";

#[test]
#[ignore = "needs peers"]
fn the_page_can_be_read_and_worked_without_a_mouse_and_on_a_phone() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    let mut browser = Browser::open(dir.path(), &format!("http://127.0.0.1:{}/", demo.page));
    browser.wait_until(
        "market and dispatches are there",
        "document.querySelectorAll('#dispatches button').length > 0 && document.querySelectorAll('#positions button').length > 0",
    );
    let _ = browser.evaluate(
        "document.querySelectorAll('details').forEach((d) => (d.open = true)); Explorer.open('clock:5')",
    );
    browser.wait_until(
        "an entry is shown",
        "document.querySelector('#entry-title') != null",
    );

    for theme in ["dark", "light"] {
        let _ = browser.evaluate(&format!("theme('{theme}')"));
        assert_eq!(browser.evaluate(FAINT), Value::Array(vec![]), "{theme}");
    }

    let nameless: Vec<_> = (browser.told_to_readers().into_iter())
        .filter(|(role, name)| {
            let needs = [
                "button",
                "combobox",
                "textbox",
                "spinbutton",
                "link",
                "image",
                "img",
                "Canvas",
                "region",
                "searchbox",
                "checkbox",
                "dialog",
            ];
            needs.contains(&role.as_str()) && name.trim().is_empty()
        })
        .collect();
    assert!(nameless.is_empty(), "without a name: {nameless:?}");

    let _ = browser.evaluate("document.querySelector('.skip').focus()");
    let mut reached = Vec::new();
    // Lists change meanwhile, and what is gone has no focus any more: the next tabulator goes on behind it.
    for _ in 0..800 {
        browser.tab();
        let at = browser.evaluate(FOCUS);
        let name = at[0].as_str().unwrap_or_default().to_owned();
        if name == "BODY" {
            continue;
        }
        if name == "skip" {
            break;
        }
        assert_eq!(at[1], true, "the focus on {name} cannot be seen");
        reached.push(name);
    }
    for control in [
        "theme",
        "safe",
        "past-run",
        "market-interval",
        "explorer-kind",
        "token",
        "hold",
    ] {
        assert!(
            reached.iter().any(|r| r == control),
            "{control}: {reached:?}"
        );
    }

    for width in [360, 768] {
        browser.resize(width, 740);
        // A chart learns of the new width a picture later: even as wide as before it must not push the page.
        let wide = browser.evaluate(
            "document.querySelectorAll('.curves canvas').forEach((c) => (c.style.width = '900px')); document.documentElement.scrollWidth",
        );
        assert!(wide.as_u64() <= Some(width.into()), "{wide} at {width}");
        let small = browser.evaluate(
            "[...document.querySelectorAll('header button')].filter((b) => b.getBoundingClientRect().height < 24).map((b) => b.id)",
        );
        assert_eq!(small, Value::Array(vec![]), "too small for a finger");
    }
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    drop(demo.end());
}
