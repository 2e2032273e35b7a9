//! The order of a scenario: setup, script, the rest of the record, teardown, rest.

use model::Instant;

use super::{Board, Broken, Stage};
use crate::script::{Phase, Scenario, Step};
use crate::verdict::Verdict;

/// What came of a script that was carried out to its end.
pub(crate) struct Played {
    /// End of its record.
    pub(crate) until: Instant,
    /// What went wrong behind the record: in the teardown, or on the way to rest.
    pub(crate) afterwards: Option<Broken>,
}

impl Stage<'_> {
    /// Plays a scenario. The teardown and the way to rest follow a script that broke, too.
    pub(crate) async fn play(&mut self, scenario: &Scenario) -> Result<Played, Broken> {
        self.wait_until_ready().await?;
        let script = self.script(scenario).await;
        self.show(|board| board.phase("teardown"));
        let mut afterwards = self.tear_down(&scenario.teardown).await;
        if let Some(after) = &scenario.after {
            afterwards.extend(self.bring_to_rest(&after.safe, after.within).await.err());
        }
        let afterwards = afterwards.into_iter().reduce(Broken::and);
        match (script, afterwards) {
            (Ok(until), afterwards) => Ok(Played { until, afterwards }),
            (Err(broken), None) => Err(broken),
            (Err(broken), Some(afterwards)) => Err(broken.and(afterwards)),
        }
    }

    /// Setup and script; the end of the record.
    async fn script(&mut self, scenario: &Scenario) -> Result<Instant, Broken> {
        self.show(|board| board.phase("setup"));
        for phase in &scenario.setup {
            self.phase("setup", phase).await?;
        }
        let start = self.clock.now();
        self.recording.with(|r| r.began = start);
        self.show(|board| board.begins(start));
        let previous = self.carry_out(&scenario.steps, start).await?;
        self.show(|board| board.phase("record"));
        let end = self.end_of_record(scenario, start, previous);
        self.sleep_until(end).await;
        Ok(end)
    }

    /// Shows how far it is, where somebody may look.
    fn show(&mut self, how: impl FnOnce(&mut Board)) {
        if let Some(board) = &mut self.board {
            how(board);
        }
    }

    /// All of the teardown, whatever one part of it comes to; what went wrong in it.
    async fn tear_down(&mut self, teardown: &[Phase]) -> Vec<Broken> {
        // What the script has set moving would move on against it.
        self.ramps.clear();
        self.courses.clear();
        let mut broken = Vec::new();
        for phase in teardown {
            broken.extend(self.phase("teardown", phase).await.err());
        }
        broken
    }

    /// Steps beside the script. What is not reached in them says nothing of what is tested, so that
    /// it is the bench that has failed.
    async fn phase(&mut self, name: &str, phase: &Phase) -> Result<(), Broken> {
        let start = self.clock.now();
        let steps = self.carry_out(&phase.steps, start);
        match tokio::time::timeout(phase.within, steps).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(broken)) if broken.verdict == Verdict::Fail => Err(Broken::infrastructure(
                format!("in the {name}, {}", broken.why),
            )),
            Ok(Err(broken)) => Err(broken),
            Err(_) => Err(Broken::infrastructure(format!(
                "the {name} was not over within {} s",
                phase.within.as_secs_f64()
            ))),
        }
    }

    /// Carries out steps whose moments count from `start`; the end of the last one.
    async fn carry_out(&mut self, steps: &[Step], start: Instant) -> Result<Instant, Broken> {
        let mut previous = start;
        for (index, step) in steps.iter().enumerate() {
            let at = self.moment(&step.at, start, previous);
            self.sleep_until(at).await;
            let began = self.clock.now();
            self.show(|board| board.step(index, began));
            if let Some(mark) = &step.mark {
                self.marks.insert(mark.clone(), began);
                self.recording.with(|r| r.marks.insert(mark.clone(), began));
            }
            for action in &step.actions {
                self.act(action, step)?;
            }
            self.wait_for(step, began).await?;
            previous = self.clock.now();
        }
        Ok(previous)
    }
}
