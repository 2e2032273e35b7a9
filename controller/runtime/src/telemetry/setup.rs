//! Makes the place on a time-series server where telemetry goes: a bucket with its retention, a second one
//! for means of a minute, and the server's own task that fills it. What is there already is changed, never
//! emptied: asked twice, it does the same once.

use std::time::Duration;

use serde_json::{Value, json};

use super::endpoint::{ANSWER_WAIT, client};
use super::{InfluxConfig, WriteApi};

/// Ending of the bucket (with version 1: name of the retention policy) of the means.
const MINUTES: &str = "minutes";
/// Name of the task (with version 1: the continuous query) that makes the means.
const TASK: &str = "gridrig_minutes";
/// Retention policy of a database of version 1 for which the rig names none; the server's own default.
const AUTOGEN: &str = "autogen";

/// How long values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Every value.
    pub values: Duration,
    /// The means of a minute.
    pub minutes: Duration,
}

/// Why the server is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// It was not reached, or did not answer.
    #[error("the telemetry server {url} does not answer: {why}")]
    Away {
        /// Its address.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// It refused a step.
    #[error("the telemetry server refused to {step}: {why}")]
    Refused {
        /// What was asked of it.
        step: String,
        /// What it said.
        why: String,
    },
    /// It has no way to be asked.
    #[error("the server at {url} has no buckets to set up")]
    NoBuckets {
        /// Its address.
        url: String,
    },
}

/// Sets the server up; the sentences say what is there now.
///
/// # Errors
/// [`SetupError`]; what was done before stays.
pub async fn set_up(
    config: &InfluxConfig,
    retention: Retention,
) -> Result<Vec<String>, SetupError> {
    let server = Server {
        client: client(config).map_err(|e| SetupError::Away {
            url: config.url.clone(),
            why: e.to_string(),
        })?,
        config,
    };
    match config.api {
        WriteApi::V1 => server.databases(retention).await,
        WriteApi::V2 => server.buckets(retention).await,
    }
}

struct Server<'a> {
    client: reqwest::Client,
    config: &'a InfluxConfig,
}

/// A name in InfluxQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A duration in InfluxQL, in whole hours; the server takes none below one.
fn hours(time: Duration) -> String {
    format!("{}h", time.as_secs().div_ceil(3600).max(1))
}

fn days(time: Duration) -> String {
    format!("{:.1} days", time.as_secs_f64() / 86_400.0)
}

impl Server<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.url.trim_end_matches('/'))
    }

    /// One request; its status and body.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<(u16, String), SetupError> {
        let away = |why: String| SetupError::Away {
            url: self.config.url.clone(),
            why,
        };
        let call = async {
            let response = request.send().await.map_err(|e| away(e.to_string()))?;
            let status = response.status().as_u16();
            let text = response.text().await.map_err(|e| away(e.to_string()))?;
            Ok((status, text))
        };
        let late = || away(format!("no answer within {} s", ANSWER_WAIT.as_secs()));
        tokio::time::timeout(ANSWER_WAIT, call)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// A statement of InfluxQL; its first result.
    async fn query(&self, step: &str, statement: &str) -> Result<Value, SetupError> {
        let mut request = self
            .client
            .post(self.url("/query"))
            .query(&[("q", statement)]);
        if let Some(token) = &self.config.token {
            let (user, password) = token.split_once(':').unwrap_or((token, ""));
            request = request.basic_auth(user, Some(password));
        }
        let (status, text) = self.ask(request).await?;
        let refused = |why: &str| SetupError::Refused {
            step: step.to_owned(),
            why: why.chars().take(200).collect(),
        };
        let answer: Value = serde_json::from_str(&text).map_err(|_| refused(&text))?;
        let result = &answer["results"][0];
        let error = answer["error"].as_str().or(result["error"].as_str());
        match (status, error) {
            (200, None) => Ok(result.clone()),
            (_, error) => Err(refused(error.unwrap_or(&text))),
        }
    }

    /// Version 1: a database, two retention policies, a continuous query.
    async fn databases(&self, retention: Retention) -> Result<Vec<String>, SetupError> {
        let bucket = &self.config.bucket;
        let (database, policy) = bucket.split_once('/').unwrap_or((bucket, AUTOGEN));
        let on = quoted(database);
        self.query(
            &format!("make the database {database}"),
            &format!("CREATE DATABASE {on}"),
        )
        .await?;
        let step = format!("tell the retention policies of {database}");
        let there = self
            .query(&step, &format!("SHOW RETENTION POLICIES ON {on}"))
            .await?;
        let known: Vec<&str> = rows(&there).filter_map(|row| row[0].as_str()).collect();
        for (name, time, default) in [
            (policy, retention.values, " DEFAULT"),
            (MINUTES, retention.minutes, ""),
        ] {
            let verb = match known.contains(&name) {
                true => "ALTER",
                false => "CREATE",
            };
            let keep = hours(time);
            self.query(
                &format!("keep {name} of {database} for {keep}"),
                &format!(
                    "{verb} RETENTION POLICY {} ON {on} DURATION {keep} REPLICATION 1{default}",
                    quoted(name)
                ),
            )
            .await?;
        }
        let step = format!("make means of a minute in {database}");
        self.query(&step, &format!("DROP CONTINUOUS QUERY {TASK} ON {on}"))
            .await?;
        // Grouped by every tag, so that the means are of the same series.
        let means = format!(
            "CREATE CONTINUOUS QUERY {TASK} ON {on} BEGIN SELECT mean(*) INTO {on}.{}.:MEASUREMENT \
             FROM {on}.{}./.*/ GROUP BY time(1m), * END",
            quoted(MINUTES),
            quoted(policy)
        );
        self.query(&step, &means).await?;
        Ok(vec![
            format!(
                "Database {database}: {policy} keeps every value for {}.",
                days(retention.values)
            ),
            format!(
                "{MINUTES} keeps means of a minute for {}; the server makes them.",
                days(retention.minutes)
            ),
        ])
    }

    /// A request of version 2; the status tells whether the thing was there.
    async fn rest(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<(u16, Value), SetupError> {
        let mut request = self.client.request(method, self.url(path)).query(query);
        if let Some(token) = &self.config.token {
            request = request.header("Authorization", format!("Token {token}"));
        }
        if let Some(body) = body {
            let body = body.to_string();
            request = request
                .header("Content-Type", "application/json")
                .body(body);
        }
        let (status, text) = self.ask(request).await?;
        let said = serde_json::from_str(&text).unwrap_or_else(|_| {
            let beginning: String = text.chars().take(200).collect();
            json!({ "message": beginning })
        });
        Ok((status, said))
    }

    /// The same for a step that must succeed.
    async fn must(
        &self,
        step: &str,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, SetupError> {
        let (status, said) = self.rest(method, path, query, body).await?;
        if (200..300).contains(&status) {
            return Ok(said);
        }
        let why = said["message"].as_str().unwrap_or_default();
        Err(SetupError::Refused {
            step: step.to_owned(),
            why: format!("{status}: {why}"),
        })
    }

    /// Versions 2 and 3: two buckets and a task.
    async fn buckets(&self, retention: Retention) -> Result<Vec<String>, SetupError> {
        use reqwest::Method;
        let (org, bucket) = (self.config.org.as_str(), self.config.bucket.as_str());
        let find = [("org", org)];
        let (status, said) = self.rest(Method::GET, "/api/v2/orgs", &find, None).await?;
        let id = match status {
            200 => said["orgs"][0]["id"].as_str(),
            401 | 403 => {
                return Err(SetupError::Refused {
                    step: format!("tell of the organisation {org}"),
                    why: format!("{status}: the token has no right to it"),
                });
            }
            // InfluxDB says 404 in JSON of an organisation that it does not have; another server, of the path.
            404 if said["code"] == "not found" => None,
            _ => {
                return Err(SetupError::NoBuckets {
                    url: self.config.url.clone(),
                });
            }
        };
        let Some(id) = id else {
            return Err(SetupError::Refused {
                step: format!("tell of the organisation {org}"),
                why: "it has none of that name".into(),
            });
        };
        let means = format!("{bucket}_{MINUTES}");
        for (name, time) in [(bucket, retention.values), (&means, retention.minutes)] {
            self.bucket(id, name, time).await?;
        }
        self.task(id, bucket, &means).await?;
        Ok(vec![
            format!(
                "Bucket {bucket} of {org} keeps every value for {}.",
                days(retention.values)
            ),
            format!(
                "Bucket {means} keeps means of a minute for {}; the task {TASK} makes them.",
                days(retention.minutes)
            ),
        ])
    }

    async fn bucket(&self, org: &str, name: &str, time: Duration) -> Result<(), SetupError> {
        use reqwest::Method;
        let step = format!("keep the bucket {name} for {}", days(time));
        let rules = json!([{ "type": "expire", "everySeconds": time.as_secs().max(3600) }]);
        let find = [("orgID", org), ("name", name)];
        let (status, said) = self
            .rest(Method::GET, "/api/v2/buckets", &find, None)
            .await?;
        let there = (status == 200).then(|| said["buckets"][0]["id"].as_str());
        match there.flatten() {
            Some(id) => {
                let path = format!("/api/v2/buckets/{id}");
                let change = json!({ "retentionRules": rules });
                self.must(&step, Method::PATCH, &path, &[], Some(change))
                    .await?;
            }
            None => {
                let make = json!({ "orgID": org, "name": name, "retentionRules": rules });
                self.must(&step, Method::POST, "/api/v2/buckets", &[], Some(make))
                    .await?;
            }
        }
        Ok(())
    }

    async fn task(&self, org: &str, bucket: &str, means: &str) -> Result<(), SetupError> {
        use reqwest::Method;
        let step = format!("make means of a minute out of {bucket}");
        // Only numbers have a mean; the texts of events stay where they are.
        let flux = format!(
            "import \"types\"\n\
             option task = {{name: \"{TASK}\", every: 1m, offset: 10s}}\n\
             from(bucket: {}) |> range(start: -task.every)\n\
             \x20 |> filter(fn: (r) => types.isType(v: r._value, type: \"float\"))\n\
             \x20 |> aggregateWindow(every: 1m, fn: mean, createEmpty: false)\n\
             \x20 |> to(bucket: {}, orgID: {})\n",
            quoted(bucket),
            quoted(means),
            quoted(org)
        );
        let find = [("orgID", org), ("name", TASK)];
        let said = self
            .must(&step, Method::GET, "/api/v2/tasks", &find, None)
            .await?;
        match said["tasks"][0]["id"].as_str() {
            Some(id) => {
                let path = format!("/api/v2/tasks/{id}");
                let change = json!({ "flux": flux, "status": "active" });
                self.must(&step, Method::PATCH, &path, &[], Some(change))
                    .await?;
            }
            None => {
                let make = json!({ "orgID": org, "flux": flux, "status": "active" });
                self.must(&step, Method::POST, "/api/v2/tasks", &[], Some(make))
                    .await?;
            }
        }
        Ok(())
    }
}

/// The rows of a result of InfluxQL.
fn rows(result: &Value) -> impl Iterator<Item = &Value> {
    let series = result["series"].as_array().into_iter().flatten();
    series.flat_map(|s| s["values"].as_array().into_iter().flatten())
}

#[cfg(test)]
mod tests;
