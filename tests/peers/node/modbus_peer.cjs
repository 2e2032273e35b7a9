// modbus-serial and jsmodbus as clients and servers, for the interop suite.
//
//   modbus_peer.cjs read LIBRARY tcp PORT UNIT FUNCTION ADDRESS COUNT
//   modbus_peer.cjs read modbus-serial rtu DEVICE UNIT FUNCTION ADDRESS COUNT
//   modbus_peer.cjs write LIBRARY PORT UNIT ADDRESS WORD...          function 16
//   modbus_peer.cjs serve LIBRARY PORT UNIT ADDRESS=FLOAT...         input registers
//
// LIBRARY is modbus-serial or jsmodbus. Each prints one line of JSON; a server
// prints {"ready": true, "port": PORT} and leaves when standard input closes.
// The packages are those of the folder in which it runs.

const net = require("node:net");
const path = require("node:path");
const { createRequire } = require("node:module");

const foreign = createRequire(path.join(process.cwd(), "package.json"));
const say = (answer) => console.log(JSON.stringify(answer));
const HOST = "127.0.0.1";
const PATIENCE_MS = 5000;
const REGISTERS = 0x200;

const READS = {
  1: ["readCoils", "readCoils"],
  2: ["readDiscreteInputs", "readDiscreteInputs"],
  3: ["readHoldingRegisters", "readHoldingRegisters"],
  4: ["readInputRegisters", "readInputRegisters"],
};

// Runs `use` with a client of modbus-serial.
async function serialClient(kind, where, unit, use) {
  const { default: Client } = foreign("modbus-serial");
  const client = new (Client ?? foreign("modbus-serial"))();
  if (kind === "tcp") await client.connectTCP(HOST, { port: Number(where) });
  else await client.connectRTUBuffered(where, { baudRate: 115200 });
  client.setID(unit);
  client.setTimeout(PATIENCE_MS);
  try {
    return await use(client);
  } finally {
    client.close(() => {});
  }
}

// Runs `use` with a client of jsmodbus.
async function jsClient(port, unit, use) {
  const socket = new net.Socket();
  const client = new (foreign("jsmodbus").client.TCP)(socket, unit, PATIENCE_MS);
  await new Promise((connected, failed) => {
    socket.once("connect", connected).once("error", failed).connect({ host: HOST, port });
  });
  try {
    return await use(client);
  } catch (reason) {
    // jsmodbus throws plain objects.
    throw new Error(reason.message ?? JSON.stringify(reason));
  } finally {
    socket.end();
  }
}

async function read([library, kind, where, unit, code, address, count]) {
  const [serialName, jsName] = READS[code];
  const [first, many] = [Number(address), Number(count)];
  const values =
    library === "modbus-serial"
      ? await serialClient(kind, where, Number(unit), async (c) => (await c[serialName](first, many)).data)
      : await jsClient(Number(where), Number(unit), async (c) => (await c[jsName](first, many)).response.body.valuesAsArray);
  say({ words: Array.from(values, Number).slice(0, many) });
}

async function write([library, port, unit, address, ...words]) {
  const [first, values] = [Number(address), words.map(Number)];
  if (library === "modbus-serial") {
    await serialClient("tcp", port, Number(unit), (c) => c.writeRegisters(first, values));
  } else {
    await jsClient(Number(port), Number(unit), (c) => c.writeMultipleRegisters(first, values));
  }
  say({ written: values.length });
}

// The registers of a meter: big-endian floats at the addresses given, 0 elsewhere.
function image(texts) {
  const bytes = Buffer.alloc(2 * REGISTERS);
  for (const text of texts) {
    const [address, value] = text.split("=");
    bytes.writeFloatBE(Number(value), 2 * Number(address));
  }
  return bytes;
}

async function serve([library, port, unit, ...texts]) {
  const input = image(texts);
  await new Promise((listening, failed) => {
    if (library === "modbus-serial") {
      const { ServerTCP } = foreign("modbus-serial");
      const vector = { getInputRegister: (address) => input.readUInt16BE(2 * address) };
      const server = new ServerTCP(vector, { host: HOST, port: Number(port), unitID: Number(unit) });
      server.on("initialized", listening).on("serverError", failed);
      server.on("socketError", () => {});
    } else {
      const server = new net.Server();
      // The buffers are the whole image of a device; jsmodbus answers for every unit.
      new (foreign("jsmodbus").server.TCP)(server, { input });
      server.once("error", failed).listen(Number(port), HOST, listening);
    }
  });
  say({ ready: true, port: Number(port) });
  process.stdin.on("end", () => process.exit(0)).resume();
}

const [verb, ...words] = process.argv.slice(2);
const verbs = { read, write, serve };
Promise.resolve()
  .then(() => verbs[verb](words))
  .then(() => verb !== "serve" && process.exit(0))
  .catch((reason) => {
    say({ error: String(reason.message ?? reason) });
    process.exit(1);
  });
