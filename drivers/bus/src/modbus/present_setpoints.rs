//! What a device's own control registers hold while the bench only looks.
//!
//! Before a bench is armed, a person wants to know what stands there now and would be replaced. Each
//! control is therefore read with the normal class, as a sample of its point. Once the bench is armed,
//! the read-back of each write says the same, and these reads end. It is not responsible for switches:
//! their position is measured. What a register holds need not be in force: a device may be switched to
//! another mode.

use model::{Flaw, Instant, Point, PointSample, Reading, Sample};

use super::Bus;
use super::device::{Device, ask};
use crate::plan::{Class, Plan, ReadKey};

impl Device {
    /// Plans the reads of all controls that are in this device.
    pub(super) fn look_at_controls(&mut self, index: usize, plan: &mut Plan, now: Instant) {
        self.stop_looking(plan);
        for (number, control) in self.profile.controls.iter().enumerate() {
            let is_here = self.recipes.get(number).is_some_and(Option::is_some);
            if is_here && control.point != Point::SwitchOn {
                let key = plan.add_read(index, Class::Normal, Some(self.spec.poll.normal), now);
                self.looks.push((key, number));
            }
        }
    }

    /// Takes these reads out of the plan.
    pub(super) fn stop_looking(&mut self, plan: &mut Plan) {
        for (key, _) in self.looks.drain(..) {
            plan.remove_read(key);
        }
    }
}

impl Bus {
    /// The control that a read looks at, if it is such a read.
    pub(super) fn looks_at(&self, index: usize, key: ReadKey) -> Option<usize> {
        let looks = self.devices[index].looks.iter();
        looks
            .clone()
            .find(|(look, _)| *look == key)
            .map(|(_, n)| *n)
    }

    /// Reads what a control's registers hold.
    pub(super) async fn look_at_control(&mut self, index: usize, key: ReadKey, number: usize) {
        let recipe = self.devices[index].recipes.get(number).cloned().flatten();
        let mut answers = Vec::new();
        let mut flaw = None;
        for block in recipe.iter().flat_map(|r| &r.readback) {
            match self.transact(index, ask(block)).await {
                Ok(answer) => answers.push(answer.words),
                Err(error) => {
                    flaw = Some(error.flaw());
                    break;
                }
            }
        }
        let (measured_at, now) = (self.clock.now(), self.now());
        self.plan.read_done(key, now);
        let device = &self.devices[index];
        let (Some(recipe), Some(control)) = (recipe, device.profile.controls.get(number)) else {
            return;
        };
        let told = || recipe.present(control, &answers, |p| device.references.get(&p).copied());
        let reading = match flaw {
            Some(flaw) => Reading::Bad(flaw),
            None => told().map_or(Reading::Bad(Flaw::NotImplemented), Reading::Good),
        };
        self.sink.sample(PointSample {
            device: device.spec.ix,
            point: control.point,
            sample: Sample {
                measured_at,
                reading,
            },
        });
    }
}
