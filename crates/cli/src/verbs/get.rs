//! `get`

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use orlop_client::{Resource, WatchOptions};
use serde_json::Value;

use super::selection::Selectors;
use crate::manifest::Files;
use crate::output::Format;
use crate::print::{Columns, Printer};
use crate::resources::{Target, targets};
use crate::session::{Session, is_not_found, with_query};

#[derive(Args, Debug)]
pub struct Arguments {
    /// TYPE [NAME...] or TYPE/NAME...
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// Output format: custom-columns=..., json, jsonpath=..., name, wide, yaml
    #[arg(short, long)]
    output: Option<String>,
    /// After listing, watch for changes
    #[arg(short, long)]
    watch: bool,
    /// Print no column heads
    #[arg(long)]
    no_headers: bool,
    /// Show all labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// Succeed when a named object does not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// GET this path and print the answer as it is
    #[arg(long)]
    raw: Option<String>,
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let printer = Printer;
    if let Some(path) = &arguments.raw {
        printer.bytes(&session.client.get_raw(path).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let format = Format::parse(arguments.output.as_deref())?;
    let targets = chosen(session, &arguments).await?;
    match &format {
        Format::Table { wide } => tables(session, &arguments, &targets, *wide).await,
        _ => objects(session, &arguments, &targets, &format).await,
    }
}

async fn chosen(session: &Session, arguments: &Arguments) -> Result<Vec<Target>> {
    let catalogue = session.catalogue().await?;
    if arguments.files.is_empty() {
        return targets(catalogue, &arguments.words);
    }
    let objects = arguments.files.objects()?;
    let target = |object: &Value| {
        let resource = catalogue.of_object(object)?.clone();
        Ok(Target { resource, name: Some(orlop_api::meta::name(object).to_owned()) })
    };
    objects.iter().map(target).collect()
}

async fn objects(session: &Session, arguments: &Arguments, targets: &[Target], format: &Format) -> Result<ExitCode> {
    let one = targets.len() == 1 && targets[0].name.is_some();
    let mut found = Vec::new();
    for target in targets {
        let api = session.api(&target.resource, arguments.selectors.namespace(session));
        match &target.name {
            Some(name) => match api.get_opt(name).await? {
                Some(object) => found.push(object.0),
                None if arguments.ignore_not_found => {}
                None => drop(api.get(name).await?),
            },
            None => {
                for mut object in api.list_all(&arguments.selectors.options()).await?.items {
                    object.0["apiVersion"] = target.resource.api_version().into();
                    object.0["kind"] = target.resource.kind.to_string().into();
                    found.push(object.0);
                }
            }
        }
    }
    let resource =
        targets.first().filter(|_| targets.iter().all(|t| t.resource == targets[0].resource)).map(|t| &t.resource);
    for object in &mut found {
        orlop_api::meta::remove(object, "managedFields");
    }
    if !(one && found.is_empty()) {
        format.show(Printer, resource, found, !one);
    }
    Ok(ExitCode::SUCCESS)
}

async fn tables(session: &Session, arguments: &Arguments, targets: &[Target], wide: bool) -> Result<ExitCode> {
    let printer = Printer;
    // Names of one resource are one table, as one list would be.
    let mut groups: Vec<(Resource, Vec<Value>)> = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        let namespace = if target.resource.namespaced { arguments.selectors.namespace(session) } else { "" };
        let path = target.resource.path(namespace, target.name.as_deref().unwrap_or_default(), "");
        let path = if target.name.is_some() { path } else { with_query(&path, &selectors(arguments)) };
        let table = match session.fetch(&path, TABLE).await {
            Ok(table) => table,
            Err(error) if is_not_found(&error) && arguments.ignore_not_found => continue,
            Err(error) if targets.len() > 1 => {
                code = super::fail(&error);
                continue;
            }
            Err(error) => return Err(error),
        };
        match groups.iter_mut().find(|(resource, _)| *resource == target.resource) {
            Some((_, tables)) => tables.push(table),
            None => groups.push((target.resource.clone(), vec![table])),
        }
    }
    let prefix = groups.len() > 1;
    let mut shown = 0;
    for (resource, tables) in &groups {
        let columns = layout(arguments, resource, tables, wide, prefix);
        if columns.rows.is_empty() {
            continue;
        }
        if shown > 0 {
            printer.line("");
        }
        shown += 1;
        printer.bytes(columns.render(!arguments.no_headers).as_bytes());
    }
    if shown == 0 && !arguments.watch && !arguments.ignore_not_found {
        let place = arguments.selectors.namespace(session);
        let namespaced = targets.first().is_none_or(|t| t.resource.namespaced);
        let place = if place.is_empty() || !namespaced { String::new() } else { format!(" in {place} namespace") };
        printer.note(format!("No resources found{place}{}", if place.is_empty() { "" } else { "." }));
    }
    if arguments.watch {
        let [(resource, tables)] = groups.as_slice() else {
            bail!("you may only specify a single resource type to watch")
        };
        let name = targets.first().and_then(|t| t.name.as_deref());
        watch(session, arguments, resource, name, tables, wide).await?;
    }
    Ok(code)
}

fn selectors(arguments: &Arguments) -> Vec<(&str, &str)> {
    vec![("labelSelector", &arguments.selectors.selector), ("fieldSelector", &arguments.selectors.field_selector)]
}

fn layout(arguments: &Arguments, resource: &Resource, tables: &[Value], wide: bool, prefix: bool) -> Columns {
    let mut columns = Columns::default();
    let definitions = tables.first().and_then(|t| t["columnDefinitions"].as_array()).cloned().unwrap_or_default();
    let shown: Vec<usize> =
        (0..definitions.len()).filter(|i| wide || definitions[*i]["priority"].as_i64().unwrap_or(0) == 0).collect();
    let with_namespace = arguments.selectors.all_namespaces && resource.namespaced;
    columns.heads.extend(with_namespace.then(|| "Namespace".to_owned()));
    columns.heads.extend(shown.iter().map(|i| definitions[*i]["name"].as_str().unwrap_or_default().to_owned()));
    columns.heads.extend(arguments.show_labels.then(|| "Labels".to_owned()));
    for row in tables.iter().flat_map(|t| t["rows"].as_array().into_iter().flatten()) {
        let metadata = &row["object"]["metadata"];
        let mut cells = Vec::new();
        cells.extend(with_namespace.then(|| metadata["namespace"].as_str().unwrap_or_default().to_owned()));
        for index in &shown {
            let text = cell(&row["cells"][*index]);
            let is_name = definitions[*index]["format"] == "name";
            cells.push(if prefix && is_name { crate::resources::display(resource, &text) } else { text });
        }
        cells.extend(arguments.show_labels.then(|| labels(&metadata["labels"])));
        columns.rows.push(cells);
    }
    columns
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('\n', "\\n"),
        Value::Null => "<none>".into(),
        other => other.to_string(),
    }
}

fn labels(value: &Value) -> String {
    let pairs = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let text = pairs.collect::<Vec<_>>().join(",");
    if text.is_empty() { "<none>".into() } else { text }
}

/// Follows the resource from where the list was; every change is a row.
async fn watch(
    session: &Session,
    arguments: &Arguments,
    resource: &Resource,
    name: Option<&str>,
    tables: &[Value],
    wide: bool,
) -> Result<()> {
    let namespace = if resource.namespaced { arguments.selectors.namespace(session) } else { "" };
    let by_name = name.map(|n| format!("metadata.name={n}"));
    let options = WatchOptions {
        label_selector: arguments.selectors.selector.clone(),
        field_selector: by_name.unwrap_or_else(|| arguments.selectors.field_selector.clone()),
        resource_version: tables.first().map(|t| cell(&t["metadata"]["resourceVersion"])).unwrap_or_default(),
        ..WatchOptions::default()
    };
    let query = options.query();
    let path = format!("{}?{}", resource.path(namespace, "", ""), query.as_str());
    let response = session.client.stream(http::Method::GET, &path, TABLE).await?;
    let mut lines = Lines::new(response.into_body());
    while let Some(line) = lines.next().await? {
        let event: Value = serde_json::from_slice(&line)?;
        if event["type"] == "ERROR" {
            bail!("{}", event["object"]["message"].as_str().unwrap_or("the watch failed"));
        }
        let mut table = event["object"].clone();
        if table["columnDefinitions"].as_array().is_none_or(Vec::is_empty) {
            table["columnDefinitions"] = tables.first().map(|t| t["columnDefinitions"].clone()).unwrap_or_default();
        }
        if event["type"] != "BOOKMARK" {
            let columns = layout(arguments, resource, &[table], wide, false);
            Printer.bytes(columns.render(false).as_bytes());
        }
    }
    Ok(())
}

/// Lines of a body as they arrive.
pub struct Lines {
    body: orlop_client::transport::Body,
    buffer: bytes::BytesMut,
}

impl Lines {
    pub fn new(body: orlop_client::transport::Body) -> Self {
        Self { body, buffer: bytes::BytesMut::new() }
    }

    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        use http_body_util::BodyExt;
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return Ok(Some(self.buffer.split_to(end + 1).freeze()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.map_err(|e| anyhow::anyhow!("{e}"))?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
