// Holds the dashboards of a folder against the types of Grafana's own schema package: each file is compiled as a
// value of its dashboard type, so a key that is missing, unknown or of another kind is an error with its place.
// Prints {"boards": N, "panels": N}.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const here = require("node:module").createRequire(process.cwd() + "/");
const ts = here("typescript");

const types = `
import type { AnnotationQuery, Dashboard, DataQuery, Panel } from "@grafana/schema";
import type * as lines from "./node_modules/@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type * as table from "./node_modules/@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
// As in a file: an enumeration is there by its value.
type Plain<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
    : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
// What Grafana's InfluxDB source reads; the package has the query of every source in common only.
interface InfluxQuery extends DataQuery {
    query: string; rawQuery: boolean; resultFormat: "time_series" | "table";
    alias?: string; textColumn?: string; fromAnnotations?: boolean;
}
type Of<Kind, Options, Fields> = Omit<Panel<never, Fields>, "type" | "options" | "targets">
    & { type: Kind; options: Options; targets: InfluxQuery[] };
type Known = Of<"timeseries", Omit<lines.Options, "timezone">, lines.FieldConfig>
    | Of<"table", Omit<table.Options, "frameIndex">, table.FieldConfig>;
type Board = Plain<Omit<Dashboard, "panels" | "annotations">
    & { panels: Known[]; annotations: { list: AnnotationQuery<InfluxQuery>[] } }>;
`;

const folder = process.argv[2];
const files = fs.readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
const sources = new Map();
let panels = 0;
for (const name of files) {
    const text = fs.readFileSync(path.join(folder, name), "utf8");
    panels += JSON.parse(text).panels.length;
    // In memory, beside the packages, which are found from here.
    sources.set(path.join(process.cwd(), `${name}.ts`), `${types}export const board: Board = ${text};\n`);
}
const options = {
    noEmit: true, strict: true, skipLibCheck: true, types: [],
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, target: ts.ScriptTarget.ES2022,
};
const host = ts.createCompilerHost(options);
const [read, exists, source] = [host.readFile, host.fileExists, host.getSourceFile];
host.readFile = (name) => sources.get(name) ?? read.call(host, name);
host.fileExists = (name) => sources.has(name) || exists.call(host, name);
host.getSourceFile = (name, version, ...rest) => sources.has(name)
    ? ts.createSourceFile(name, sources.get(name), version)
    : source.call(host, name, version, ...rest);
const program = ts.createProgram([...sources.keys()], options, host);
const faults = ts.getPreEmitDiagnostics(program);
if (faults.length > 0 || files.length === 0) {
    process.stderr.write(ts.formatDiagnostics(faults, {
        getCanonicalFileName: (name) => name, getCurrentDirectory: () => process.cwd(), getNewLine: () => "\n",
    }));
    process.stderr.write(`${faults.length} faults in ${files.length} dashboards\n`);
    process.exit(1);
}
process.stdout.write(`${JSON.stringify({ boards: files.length, panels })}\n`);
