//! One table of a document with another text laid over it.

use toml_edit::{DocumentMut, Item, TableLike};

/// A document that holds only `[section] name = …`: the entry as it stands in `base`, with what
/// `over` says laid over its table `key`, or over the entry itself. Tables are merged key by key,
/// anything else is replaced.
///
/// `None` when `base` or `over` is no TOML, when there is no such entry, or when what stands
/// under `key` is no table.
#[must_use]
pub fn merged(
    base: &str,
    section: &str,
    name: &str,
    key: Option<&str>,
    over: &str,
) -> Option<String> {
    let base: DocumentMut = base.parse().ok()?;
    let over: DocumentMut = format!("over = {over}").parse().ok()?;
    let mut entry = base.get(section)?.as_table_like()?.get(name)?.clone();
    let table = entry.as_table_like_mut()?;
    let over = over.get("over")?.as_table_like()?;
    match key.map(|key| (key, table.contains_key(key))) {
        None => lay_over(table, over),
        Some((key, true)) => lay_over(table.get_mut(key)?.as_table_like_mut()?, over),
        Some((key, false)) => {
            let mut fresh = toml_edit::InlineTable::new();
            lay_over(&mut fresh, over);
            table.insert(key, Item::Value(fresh.into()));
        }
    }
    let mut inline = toml_edit::InlineTable::new();
    for (key, item) in table.iter() {
        inline.insert(key, item.clone().into_value().ok()?);
    }
    let mut told = toml_edit::InlineTable::new();
    told.insert(name, inline.into());
    let mut document = DocumentMut::new();
    document.insert(section, Item::Value(told.into()));
    Some(document.to_string())
}

fn lay_over(table: &mut dyn TableLike, over: &dyn TableLike) {
    for (key, item) in over.iter() {
        let both = table.get_mut(key).and_then(Item::as_table_like_mut);
        match (both, item.as_table_like()) {
            (Some(there), Some(over)) => lay_over(there, over),
            _ => {
                table.insert(key, item.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_merged_and_everything_else_is_replaced() {
        let base = "title = \"t\"\n[emulate.a]\nrated = \"1kVA\"\nder = { x = { p = 1, q = 2 }, y = 3 }\n[emulate.b]\nz = 1\n";
        let rows = [
            (
                "a",
                "{ x = { q = 9 } }",
                Some("rated = \"1kVA\", der = { x = { p = 1, q = 9 }, y = 3 }"),
            ),
            (
                "a",
                "{ y = [1], w = 0 }",
                Some("rated = \"1kVA\", der = { x = { p = 1, q = 2 }, y = [1], w = 0 }"),
            ),
            ("b", "{ w = 0 }", Some("z = 1, der = { w = 0 }")),
            ("c", "{ w = 0 }", None),
            ("a", "{ w = ", None),
        ];
        for (name, over, expected) in rows {
            let got = merged(base, "emulate", name, Some("der"), over);
            let plain = |text: &str| {
                text.chars()
                    .filter(|c| !c.is_whitespace())
                    .collect::<String>()
            };
            let expected = expected.map(|e| plain(&format!("emulate={{{name}={{{e}}}}}")));
            assert_eq!(got.as_deref().map(plain), expected, "{name} {over}");
        }
        assert_eq!(merged("a = ", "emulate", "a", Some("der"), "{}"), None);
        let file = "[emulate]\na = { der = \"der.toml\" }";
        assert_eq!(
            merged(file, "emulate", "a", Some("der"), "{}"),
            None,
            "a file is not looked into"
        );
        let entry = merged(
            base,
            "emulate",
            "b",
            None,
            "{ z = 2, faults = [\"stuck\"] }",
        );
        let entry = entry.map(|text| text.replace(char::is_whitespace, ""));
        let expected = "emulate={b={z=2,faults=[\"stuck\"]}}";
        assert_eq!(entry.as_deref(), Some(expected), "over the entry itself");
    }
}
