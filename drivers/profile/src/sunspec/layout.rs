//! Where each point of a model stands, also those in groups that repeat.
//!
//! Names count from one, as the specification does: `Crv[1]` is the active curve,
//! `Crv[2].Pt[3].V` the third voltage of the second curve; what stands once inside has no number. It is not responsible for
//! how often a group is there: a device says so in its own registers.

use super::{Count, Group, Model, ModelPoint};

impl Model {
    /// The point of a name among those that stand there once; members of single nested groups
    /// are named `group.point`.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&ModelPoint> {
        self.points.iter().find(|p| p.name == name)
    }

    /// The point of a name, also `group[2].point` in a group whose place depends on nothing
    /// that a device says: the first that repeats, with no group inside.
    #[must_use]
    pub fn locate(&self, name: &str) -> Option<ModelPoint> {
        if let Some(point) = self.point(name) {
            return Some(point.clone());
        }
        let (group, rest) = name.split_once('[')?;
        let (number, point) = rest.split_once("].")?;
        let first = self.groups.first()?;
        let number: u16 = number.parse().ok().filter(|n| *n >= 1)?;
        if first.name != group || !first.groups.is_empty() {
            return None;
        }
        let point = first.points.iter().find(|p| p.name == point)?;
        let begin = first.length.checked_mul(number - 1)?;
        let offset = self.length.checked_add(2)?.checked_add(begin)?;
        Some(ModelPoint {
            name: name.to_owned(),
            offset: offset.checked_add(point.offset)?,
            ..point.clone()
        })
    }

    /// All points of a device's model in address order, the repeated ones with their numbers.
    ///
    /// `counts` tells what a count point holds, `length` what the length register says. `None`
    /// when a count is not told, or when more is announced than the length has room for.
    #[must_use]
    pub fn lay_out(
        &self,
        counts: &dyn Fn(&str) -> Option<u16>,
        length: u16,
    ) -> Option<Vec<ModelPoint>> {
        let mut points = self.points.clone();
        let begin = self.length.checked_add(2)?;
        let end = length.checked_add(2)?;
        lay_out(&self.groups, "", begin, end, counts, &mut points)?;
        Some(points)
    }

    /// The length register of a model with so many repetitions; `None` when a count is not told
    /// or it is too long for that register.
    #[must_use]
    pub fn length_with(&self, counts: &dyn Fn(&str) -> Option<u16>) -> Option<u16> {
        self.length.checked_add(length_of(&self.groups, counts)?)
    }
}

fn length_of(groups: &[Group], counts: &dyn Fn(&str) -> Option<u16>) -> Option<u16> {
    groups.iter().try_fold(0_u16, |length, group| {
        let count = match &group.count {
            Count::Point(point) => counts(point)?,
            Count::Rest => counts("*")?,
            Count::Once => 1,
        };
        let one = group
            .length
            .checked_add(length_of(&group.groups, counts)?)?;
        length.checked_add(one.checked_mul(count)?)
    })
}

/// Appends groups from `at` on; gives back the offset behind them.
fn lay_out(
    groups: &[Group],
    prefix: &str,
    mut at: u16,
    end: u16,
    counts: &dyn Fn(&str) -> Option<u16>,
    points: &mut Vec<ModelPoint>,
) -> Option<u16> {
    for group in groups {
        let count = match &group.count {
            Count::Point(point) => counts(point)?,
            Count::Rest => end.saturating_sub(at).checked_div(group.length)?,
            Count::Once => 1,
        };
        for number in 1..=count {
            let name = match group.count {
                Count::Once => format!("{prefix}{}.", group.name),
                _ => format!("{prefix}{}[{number}].", group.name),
            };
            // Looked at before anything is stored: a device may claim whatever it likes.
            if at.checked_add(group.length)? > end {
                return None;
            }
            points.extend(group.points.iter().map(|point| ModelPoint {
                name: format!("{name}{}", point.name),
                offset: at + point.offset,
                ..point.clone()
            }));
            at = lay_out(&group.groups, &name, at + group.length, end, counts, points)?;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::super::model;

    fn counts(name: &str) -> Option<u16> {
        match name {
            "NPt" => Some(4),
            "NCrv" | "NCrvSet" => Some(3),
            _ => None,
        }
    }

    #[test]
    fn curves_stand_behind_one_another_each_with_its_points() {
        let model = model(705).expect("bundled");
        let length = model.length_with(&counts).expect("fits");
        // 13 registers, and three curves of 10 registers and four points of two.
        assert_eq!(length, 13 + 3 * (10 + 2 * 4));
        let points = model.lay_out(&counts, length).expect("fits");
        let at = |name: &str| points.iter().find(|p| p.name == name).map(|p| p.offset);
        assert_eq!(at("Crv[1].ActPt"), Some(15));
        assert_eq!(at("Crv[1].Pt[1].V"), Some(25));
        assert_eq!(at("Crv[2].ActPt"), Some(33));
        assert_eq!(at("Crv[2].ReadOnly"), Some(42));
        assert_eq!(at("Crv[3].Pt[4].Var"), Some(68));
        let mut next = 0;
        for point in &points {
            assert_eq!(point.offset, next, "{}", point.name);
            next += point.size;
        }
        assert_eq!(next, length + 2);
    }

    #[test]
    fn a_set_of_trip_curves_holds_three_curves_by_name() {
        let model = model(707).expect("bundled");
        let length = model.length_with(&counts).expect("fits");
        // 7 registers, and three sets of one register and three curves of a count and four points.
        assert_eq!(length, 7 + 3 * (1 + 3 * (1 + 4 * 3)));
        let points = model.lay_out(&counts, length).expect("fits");
        let at = |name: &str| points.iter().find(|p| p.name == name).map(|p| p.offset);
        assert_eq!(at("Crv[1].MustTrip.ActPt"), Some(10));
        assert_eq!(at("Crv[1].MustTrip.Pt[2].V"), Some(14));
        assert_eq!(at("Crv[1].MomCess.Pt[4].Tms"), Some(47));
        assert_eq!(at("Crv[2].ReadOnly"), Some(49));
    }

    #[test]
    fn a_model_that_announces_more_than_it_has_room_for_has_no_layout() {
        let model = model(705).expect("bundled");
        assert_eq!(model.lay_out(&counts, 66), None);
        assert_eq!(model.lay_out(&|_| Some(u16::MAX), 67), None);
        assert_eq!(model.lay_out(&|_| None, 67), None);
        assert_eq!(model.length_with(&|_| Some(u16::MAX)), None);
    }

    #[test]
    fn modules_are_as_many_as_the_length_has_room_for() {
        let model = model(160).expect("bundled");
        for (length, modules) in [(8, 0), (48, 2), (50, 2)] {
            let points = model.lay_out(&|_| None, length).expect("fits");
            let last = points.iter().filter(|p| p.name.ends_with("].DCW")).count();
            assert_eq!(last, modules, "{length}");
        }
    }

    #[test]
    fn only_what_stands_still_is_located_by_its_number() {
        let rows = [
            (160, "module[1].DCW", Some(21)),
            (160, "module[3].DCW", Some(61)),
            (160, "module[0].DCW", None),
            (160, "module[9999].DCW", None),
            (160, "module[1].W", None),
            (714, "Prt[2].DCW", Some(57)),
            (711, "Ctl[2].KOf", Some(28)),
            (705, "Crv[1].ActPt", None),
            (103, "W", Some(14)),
        ];
        for (number, name, offset) in rows {
            let model = model(number).expect("bundled");
            assert_eq!(model.locate(name).map(|p| p.offset), offset, "{name}");
        }
    }
}
