//! The commands that a profile means: what each query tells and what each setting does.

use model::Point;
use profile::scpi::{Form, ScpiProfile, Setting};

use super::header::{Header, Path, Pattern, units};
use super::{DATA_TYPE, Error, MISSING, NOT_ALLOWED};

/// A value in the answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// What is measured.
    Measured { point: Point, factor: f64 },
    /// What is set; `range` in the instrument's own unit.
    Setting {
        point: Point,
        factor: f64,
        decimals: u8,
        range: Option<(f64, f64)>,
    },
    /// A place in the answer that the profile does not speak of.
    Nothing,
}

/// What a setting does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Sets a value; `range` in the instrument's own unit.
    Value {
        point: Point,
        factor: f64,
        range: Option<(f64, f64)>,
    },
    /// With these parameters, sets this value.
    Fixed {
        point: Point,
        value: f64,
        parameters: Vec<String>,
    },
    /// Moves an end of what is taken.
    Limit {
        point: Point,
        factor: f64,
        upper: bool,
    },
    /// With these parameters, changes nothing that is emulated.
    Accept { parameters: Vec<String> },
}

impl Effect {
    /// Whether the parameters are those of this effect; a value may be any one.
    pub(super) fn takes(&self, given: &[&str]) -> bool {
        match self {
            Self::Value { .. } | Self::Limit { .. } => !given.is_empty(),
            Self::Fixed { parameters, .. } | Self::Accept { parameters } => {
                parameters.len() == given.len()
                    && parameters.iter().zip(given).all(|(p, g)| same_word(p, g))
            }
        }
    }
}

/// Whether two parameters are the same word; `ON` is `1`, and a word has a short form.
fn same_word(own: &str, given: &str) -> bool {
    let plain = |text: &str| match text.to_ascii_uppercase().as_str() {
        "ON" => "1".to_owned(),
        "OFF" => "0".to_owned(),
        text => text.to_owned(),
    };
    let short: String = own.chars().filter(|c| !c.is_ascii_lowercase()).collect();
    plain(own) == plain(given) || short.eq_ignore_ascii_case(given)
}

/// What a header does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// Takes an entry from the error queue.
    Errors,
    /// Tells the version of SCPI.
    Version,
    /// Tells values.
    Query(Vec<Answer>),
    /// Sets, depending on its parameters.
    Set(Vec<Effect>),
}

/// The commands of an instrument.
#[derive(Clone, Debug, Default)]
pub(super) struct Commands {
    queries: Vec<(Pattern, Command)>,
    settings: Vec<(Pattern, Vec<Effect>)>,
    found: Vec<(Pattern, Command)>,
}

impl Commands {
    /// The commands of a profile.
    pub(super) fn of(profile: &ScpiProfile) -> Self {
        let mut commands = Self::default();
        commands.query(&profile.errors, Command::Errors);
        commands.query("SYSTem:VERSion?", Command::Version);
        for control in &profile.controls {
            let answer = match &control.form {
                Form::Number { decimals, .. } => Answer::Setting {
                    point: control.point,
                    factor: control.factor,
                    decimals: *decimals,
                    range: own_range(control),
                },
                Form::Switch { .. } => Answer::Measured {
                    point: control.point,
                    factor: 1.0,
                },
            };
            commands.query(&control.readback, Command::Query(vec![answer]));
            commands.setting(control);
        }
        for point in &profile.points {
            let answer = Answer::Measured {
                point: point.point,
                factor: point.factor,
            };
            commands.measured(&point.query, point.field, answer);
        }
        for message in ["SYSTem:REMote", "SYSTem:LOCal"] {
            commands.accept(message);
        }
        for message in &profile.remote {
            commands.accept(message);
        }
        commands.found = commands
            .settings
            .drain(..)
            .map(|(pattern, effects)| (pattern, Command::Set(effects)))
            .collect();
        commands
    }

    /// Whether there is an output or input to switch.
    pub(super) fn switches(&self) -> bool {
        self.found.iter().any(|(_, command)| match command {
            Command::Set(effects) => effects.iter().any(
                |effect| matches!(effect, Effect::Fixed { point, .. } if *point == Point::SwitchOn),
            ),
            _ => false,
        })
    }

    pub(super) fn find(&self, header: &Header) -> Option<&Command> {
        let among = if header.asks {
            &self.queries
        } else {
            &self.found
        };
        let mut fitting = among.iter().filter(|(pattern, _)| pattern.fits(header));
        fitting.next().map(|(_, command)| command)
    }

    fn query(&mut self, query: &str, command: Command) {
        if let Some((header, _)) = Path::default().resolve(query)
            && self.find(&header).is_none()
        {
            self.queries.push((Pattern::of(&header), command));
        }
    }

    /// Puts a measured value into its place in the answer to a query.
    fn measured(&mut self, query: &str, field: usize, answer: Answer) {
        let Some((header, _)) = Path::default().resolve(query) else {
            return;
        };
        let pattern = Pattern::of(&header);
        let known = self.queries.iter_mut().find(|(p, _)| *p == pattern);
        let answers = match known {
            Some((_, Command::Query(answers))) => answers,
            Some(_) => return,
            None => {
                self.queries.push((pattern, Command::Query(Vec::new())));
                match self.queries.last_mut() {
                    Some((_, Command::Query(answers))) => answers,
                    _ => return,
                }
            }
        };
        if answers.len() <= field {
            answers.resize(field + 1, Answer::Nothing);
        }
        if let Some(place @ Answer::Nothing) = answers.get_mut(field) {
            *place = answer;
        }
    }

    fn effect(&mut self, header: &Header, effect: Effect) {
        let pattern = Pattern::of(header);
        match self.settings.iter_mut().find(|(p, _)| *p == pattern) {
            Some((_, effects)) => effects.push(effect),
            None => self.settings.push((pattern, vec![effect])),
        }
    }

    fn accept(&mut self, message: &str) {
        let mut path = Path::default();
        for unit in units(message) {
            if let Some((header, parameters)) = path.resolve(unit) {
                let parameters = parameters.iter().map(|p| (*p).to_owned()).collect();
                self.effect(&header, Effect::Accept { parameters });
            }
        }
    }

    fn setting(&mut self, control: &Setting) {
        let messages: Vec<(&str, Option<f64>)> = match &control.form {
            Form::Number { template, .. } => vec![(template, None)],
            Form::Switch { on, off } => vec![(on, Some(1.0)), (off, Some(0.0))],
        };
        for (message, fixed) in messages {
            let mut path = Path::default();
            for unit in units(message) {
                let Some((header, parameters)) = path.resolve(unit) else {
                    continue;
                };
                let words = parameters.iter().map(|p| (*p).to_owned()).collect();
                let effect = match fixed {
                    Some(value) => Effect::Fixed {
                        point: control.point,
                        value,
                        parameters: words,
                    },
                    None if parameters.contains(&"{value}") => Effect::Value {
                        point: control.point,
                        factor: control.factor,
                        range: own_range(control),
                    },
                    None => Effect::Accept { parameters: words },
                };
                self.effect(&header, effect);
            }
        }
        let mut path = Path::default();
        for unit in units(control.limit.as_deref().unwrap_or_default()) {
            if let Some((header, parameters)) = path.resolve(unit) {
                let effect = Effect::Limit {
                    point: control.point,
                    factor: control.factor,
                    upper: parameters.contains(&"{high}"),
                };
                self.effect(&header, effect);
            }
        }
    }
}

/// What an instrument takes, in its own unit.
fn own_range(control: &Setting) -> Option<(f64, f64)> {
    let (low, high) = control.range?;
    let (a, b) = (low / control.factor, high / control.factor);
    Some((a.min(b), a.max(b)))
}

/// The one number among the parameters: plain, with a unit behind it, or an end of the range.
pub(super) fn parameter(parameters: &[&str], range: Option<(f64, f64)>) -> Result<f64, Error> {
    let text = match parameters {
        [] => return Err(MISSING),
        [text] => *text,
        _ => return Err(NOT_ALLOWED),
    };
    let upper = text.to_ascii_uppercase();
    match (upper.as_str(), range) {
        ("MIN" | "MINIMUM", Some((low, _))) => return Ok(low),
        ("MAX" | "MAXIMUM", Some((_, high))) => return Ok(high),
        _ => {}
    }
    let number = upper
        .trim_end_matches("HZ")
        .trim_end_matches(['V', 'W'])
        .trim_end_matches("DEG")
        .trim();
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'E');
    if number.is_empty() || !number.chars().all(plain) {
        return Err(DATA_TYPE);
    }
    let value: f64 = number.parse().map_err(|_| DATA_TYPE)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(DATA_TYPE)
    }
}
