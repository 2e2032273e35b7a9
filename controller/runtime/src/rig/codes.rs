//! What the codes of rig faults mean, for `gridrig explain`.

/// Code and explanation.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "D001",
        "The file is not TOML. The caret stands where the reader gave up; the mistake is there or just before.",
    ),
    (
        "D002",
        "A key that nothing reads. gridrig never ignores a key: a misspelt limit would be no limit at all.",
    ),
    (
        "D003",
        "A value of the wrong kind, such as a number where a text in quotes is needed.",
    ),
    ("D004", "A key that must be there is missing."),
    ("D005", "A whole number outside its allowed range."),
    ("D006", "A word that is not one of the known ones."),
    (
        "D007",
        "A quantity that cannot be read. Quantities are texts with a unit, such as \"2kW\", \"150ms\" or \"20%\"; a bare number is never guessed.",
    ),
    ("R000", "The rig file cannot be read from disk."),
    ("R001", "A device names a bus that the rig does not have."),
    (
        "R002",
        "A device names a profile that neither is bundled with gridrig nor exists as a file beside the rig.",
    ),
    (
        "R003",
        "Two devices of a bus have the same address (unit or topic), or two buses open the same port. Each would read the other's values.",
    ),
    (
        "R004",
        "The profile of a device speaks another protocol than its bus.",
    ),
    (
        "R005",
        "A role that the profile cannot fill: a storage inverter needs ctl.p_set, a breaker and a switchable load need switch.on, a source needs ctl.f_set.",
    ),
    ("R006", "`shed` is only for loads with a switch."),
    (
        "R007",
        "`battery` must name a device with the role \"battery\".",
    ),
    (
        "R008",
        "A device that takes power setpoints has no limits, or a source has no limits of frequency and voltage. gridrig has no silent defaults for anything that can move power.",
    ),
    (
        "R009",
        "`[emulate]`, `[market]`, `[service]` or `safety` names a device that the rig does not have.",
    ),
    (
        "R010",
        "The bus is asked for more than it can carry: the reads of its devices take longer than their periods.",
    ),
    (
        "R011",
        "A device on MQTT needs a `topic`, with as many levels as its profile speaks of (`{t.2}` is the second one).",
    ),
    (
        "R012",
        "A limit is wider than the nameplate of the device. The nameplate comes from the profile, from `[emulate]` or, on a live bench, from the device itself.",
    ),
    (
        "R013",
        "A rig has one point of common coupling and at most one coupling breaker.",
    ),
    (
        "R014",
        "A device that can move power and keeps its last setpoint for ever when it hears nothing. It would go on when the controller is gone, so its profile must say how it falls back (`comms_loss`). Some devices cannot: then the rig's device says `accept_hold = true`, and somebody stands beside the bench who can switch it off.",
    ),
    (
        "R016",
        "`inherit` leads in a circle or to a file that cannot be read.",
    ),
    (
        "R017",
        "The market's tariff would pay for a round trip: import must cost at least what export earns.",
    ),
    (
        "R018",
        "The market's interval is too short for its gate: clearing, ledger and setpoints need time.",
    ),
    (
        "R019",
        "An address that cannot be read: `socketcan://can0`, `socketcand://host:29536/can0`, `slcan:///dev/ttyACM0?bitrate=500000` (10000, 20000, 50000, 100000, 125000, 250000, 500000, 800000 or 1000000), `virtual://name`, `mqtt://host:1883`.",
    ),
    (
        "R020",
        "The nominal values of the site are outside what gridrig controls (50 or 60 Hz, 100 to 500 V line to neutral).",
    ),
    (
        "R022",
        "A password or token is named by an environment variable that is not set.",
    ),
    (
        "R023",
        "A file with a certificate or a token cannot be read, or holds none.",
    ),
    (
        "R024",
        "A TCP port, serial device or CAN interface cannot be opened. The message says what the system said and what to do.",
    ),
    ("R025", "The run folder cannot be made or written."),
    (
        "R026",
        "The control thread could not be started or ended badly. Nothing is dispatched without it.",
    ),
    (
        "R027",
        "The rig cannot be emulated: a battery without an inverter, a meter that looks at nothing, or a `topic` with fewer levels than its profile speaks of.",
    ),
    (
        "R028",
        "The file with the course of the day (`plant.day`), with a recorded course (`plant.course`, `play` in a scenario), or with the settings of a DER (`der` in `[emulate]`), cannot be read.",
    ),
    (
        "R029",
        "A fault of `[emulate]` that the emulator does not know.",
    ),
    (
        "R040",
        "Power that flows the wrong way for what the device is: a load that feeds in, photovoltaics that consume more than their standby, or a battery that charges while its inverter discharges it. Positive is power from the device into the AC bus (of a battery: discharging). A meter in front of a load needs `invert = true`; everything else is the `sign` of the profile.",
    ),
    (
        "R041",
        "Active power that voltage and current of the same device do not make. Usually kW were taken for W or the other way round, or the words of a number stand in the other order. Every number may be wrong until it is known which one is.",
    ),
    (
        "R042",
        "Active power, apparent power and power factor of a device contradict each other: a unit or scale in its profile is wrong.",
    ),
    (
        "R043",
        "A frequency or voltage that no bench with this nominal value has: a scale in the profile is wrong, or `site` in the rig.",
    ),
    (
        "R044",
        "What flows through the point of common coupling is not what the devices make of it. If the opposite sign of one device closes the balance, that device is named. Otherwise it is a warning: something on the bus is not metered, or a scale is wrong.",
    ),
    (
        "R045",
        "A device says values that its own profile does not believe. The driver marks each of them as out of range and nobody uses it; the usual reason is a wrong type, word order or scale.",
    ),
    (
        "R062",
        "The loop from a measured frequency to a setpoint that a storage has taken over is slower than half of the delay that the island's droop bears (`control.inertia`, `control.lag` and `control.droop`, or `control.delay_margin`). Beyond the whole of it the frequency swings ever wider. Let the inverters do the droop by themselves, or poll and write faster. A running controller measures the loop and refuses the droop, and each frequency service whose answer grows with the deviation, as long as it is too slow.",
    ),
    (
        "R063",
        "`safety.order` must name all steps of the safe end: what it left out would be left as it is.",
    ),
    (
        "R064",
        "A guard of the modes that nothing on this bench could ever make true: an island would be refused for ever. The message names the guard and the numbers that contradict each other.",
    ),
    (
        "R065",
        "An interlock that keeps itself from ever being met: a breaker that nobody could close again, units that wait for each other, an emergency stop that the safe state holds open.",
    ),
    (
        "R066",
        "The limit of exports at the point of common coupling (`limits.p` of the `pcc`) is broken by the sun alone where an inverter takes no ceiling: its profile has none, or it may not be written to. The controller's limit narrows what is asked of devices and forces nothing: no load is switched on for it, no storage is charged, and the coupling breaker is not opened. `control.pcc_limits` charges the storage as far as it can. What must never be exceeded needs a device that keeps it by itself.",
    ),
    (
        "R067",
        "A scenario's `mutants` name a device that its rig does not emulate by an entry of its own in `[emulate]`, or one whose `der` stands in a file. Give the device an entry, or write the settings into it.",
    ),
    (
        "R080",
        "This service cannot be delivered at this site: it is defined for another nominal frequency, it says what is left of a generator's power instead of what is given on top of it, or it is what a device does by itself.",
    ),
    (
        "R081",
        "A service without a reserve: nothing was sold of it, a negative power, or power in a direction in which it never asks for any. `up` and `down` are magnitudes.",
    ),
    (
        "R082",
        "A service is delivered by storage inverters and loads that take a power set point, by inverters that take a ceiling, and by loads with a switch, named once: by `devices`, or all storage inverters by `group = \"storage\"`.",
    ),
    (
        "R083",
        "More was sold than the devices can give. Each service is shared out over its devices in proportion to their ratings; what all services reserve of a device must fit into its limits, its ramp must be fast enough, and its charge must sustain every reserve for its time.",
    ),
    (
        "R084",
        "The energy that a service reserves is its power for the time that it must be sustained. Either that time (`hold`) or the `capacity` of a device is not known.",
    ),
    (
        "R085",
        "The file with the settings of a service cannot be read.",
    ),
    (
        "R086",
        "A service has the name of a device. Signals of scenarios name both, so `x.p` would be two things.",
    ),
    (
        "R087",
        "The rig names the configuration of a ledger's node, and that file, or one that it names, is not in order. What is wrong is told beside this code.",
    ),
    (
        "R088",
        "Whoever writes into the ledger is a party of its universe: the controller, which may command devices (`controller` in `[ledger]`, without a word the party of that name), with a market its operator and each participant. The universe was made for another rig; `gridrig ledger init --rig RIG` makes one for this.",
    ),
    (
        "R089",
        "The ledger's node may not sign yet. A node whose log was in use waits until every other node has said how far it went, since a restored backup would sign things twice. Start the nodes that are named; one that is gone for good is listed under `lost` in the node's configuration.",
    ),
    (
        "R090",
        "An alarm has one limit, `above` or `below`, and clears on the other side of it or at it. With both, or with a `clears` that is beyond, it could never be over.",
    ),
    (
        "R091",
        "An alarm watches a value that the bench does not have. A device has p, q, v, f, soc and t; `bench` has what control believes of its own bus: p at the coupling (positive = import), q, v, f, soc (the lowest of any storage) and rocof.",
    ),
    (
        "R095",
        "The mechanism trades lots of one size. Devices order what they need, so no bench can use it; `gridrig market clear` clears a book of lots with it.",
    ),
    (
        "R096",
        "The market has accounts of its own: `utility` of the grid behind the point of common coupling, `operator` of losses and of what a mechanism leaves over, `penalties` of what deviations cost, `taxes` and `surcharges` of what is levied. No participant may have such a name.",
    ),
    (
        "R097",
        "Several participants may trade with one device, each with its share. What nobody has a share in would be metered and paid by nobody, so the shares of a device come to one whole.",
    ),
    (
        "R098",
        "A storage that plans needs one expected price for each interval to come, in milli-cent per kWh.",
    ),
    (
        "R099",
        "A penalty needs a tolerance that is not negative and steps of standing that follow one another: first more collateral is called, then energy is capped, then the participant is suspended and comes back capped. A deposit without `[market.penalty]` covers nothing.",
    ),
    (
        "R100",
        "A photovoltaic inverter gives more on request only if it was held below what the sun gives, and while it is held it cannot tell how much that is. An inverter beside it that is left free does, by the share of its rating: `reference`. Downwards none is needed.",
    ),
    (
        "R101",
        "A load with a switch only gives all of its power or nothing. That suits what is all or nothing and may return at once (`ffr-held`) and set points that stand for minutes (`afrr`, `mfrr`); an answer that follows the frequency would make it chatter. `on_min` and `off_min` are the shortest times for which such loads stay as they are.",
    ),
    (
        "R102",
        "A load with a switch only stands on to be let go of, or off to be taken, for one service. What was sold has to be what whole blocks come to, where no device beside them makes up for the rest.",
    ),
    (
        "R103",
        "A load with a switch only that delivers a service stands where the service needs it, so there is nothing left of it that a market could switch.",
    ),
    (
        "R104",
        "There is one reactive power at the point of common coupling: it supports the voltage, keeps a power factor, or is held.",
    ),
    (
        "R105",
        "A participant whose strategy is `external` is bound to what its device can exchange in an interval: an order beyond that is refused with M015. So the device states its `limits.p`.",
    ),
    (
        "R106",
        "The gate of the day-ahead stage closes before the real-time gate of the first interval of its block, by a second at least: the positions are on the ledger by then.",
    ),
    (
        "R115",
        "The address of a telemetry server has a scheme (`http://` or `https://`), a host and perhaps a port, nothing else. A certificate authority (`ca`) needs `https://`.",
    ),
    (
        "R123",
        "A file with a token or a key can be used by others on its machine. Whoever reads it can do what its owner may. Give it the mode 0600, and replace it if somebody else may have read it.",
    ),
    (
        "R124",
        "The keys or the tokens of the page cannot be read, or the tokens file says something wrong. It has a table for each token, `[token.NAME]`, with a `role` (observe, bid, operate or arm), a `secret` of 16 or more letters and digits, and for `bid` the `participant` that it orders for. `gridrig init` makes one.",
    ),
    (
        "R125",
        "What lies in the folder of keys is not a certificate and its key: `server.pem` (the page's certificate, followed by what leads to its authority) and `server.key`, both in PEM form, the key without a password.",
    ),
    (
        "R126",
        "The certificate of the page has expired, is not valid yet, or was not signed by the authority beside it, so no caller would accept it. Move `server.pem` away and ask `gridrig init` again for the same folder: the authority stays, and so does everybody's trust in it.",
    ),
    (
        "R127",
        "`gridrig init` makes what is missing in a folder of keys and overwrites nothing. It cannot write there, a name for the certificate is none, or a certificate is there without its key.",
    ),
    (
        "R130",
        "After an event a storage goes back to its charge by the rule of its service: how much of what is kept in a period, and how long before the period that is declared. This service has no such rule. A file of `settings` can give one.",
    ),
    (
        "R131",
        "The charge that a storage goes back to after an event has to be one at which all that was sold could be held for its time, up and down, and there has to be a storage at all.",
    ),
    (
        "R140",
        "The power cycle of a bench (`[bench] recover`) is a list: the program that switches it off and on again and returns when it is up, and its arguments. No shell reads it. A program with a slash in its name lies beside the rig. `recover_within` is the time that it has.",
    ),
    (
        "R141",
        "`[bench] real` names the buses whose far ends are hardware when a run is half emulated (`--on mixed`). A wire is real or emulated as a whole: a device is real where its bus is. For real and emulated plugs at one time a rig has two buses of MQTT, one of them at the real broker.",
    ),
    (
        "R142",
        "What hangs together in the emulated plant cannot be half real: an emulated battery needs its emulated inverter, an emulated meter what it looks at, and a switch of the emulated network is moved by an emulated breaker. Name the buses of both in `[bench] real`, or of none.",
    ),
    (
        "R143",
        "A run is half emulated (`--on mixed`) where the rig says which half is real: `[bench] real` names at least one bus, and not all of them. Where all are real that is `--on bench`, where none is, `--on sim`.",
    ),
    (
        "R155",
        "A contract of the market is between two participants of `[market.participant]`, or one of them and the `utility`.",
    ),
    (
        "R156",
        "A contract has two different parties, a positive energy for each interval of its period, and a last interval that is not before the first.",
    ),
    (
        "R157",
        "What one has sold or bought by contract in an interval is no more than its device gives or takes in that time by its `limits.p`: nobody could deliver the rest.",
    ),
    (
        "R165",
        "`[regulation]` bounds the prices of a market: the floor lies below the cap, the utility grid can sell at its import parity and buy at its export parity within them, and so can a load that must run at the value of lost load.",
    ),
    (
        "R166",
        "`[regulation]` says what a regulator asks of the rig's market. Without `[market]` nothing would heed it.",
    ),
    (
        "R167",
        "`[regulation]` speaks of participants that the market does not have: by name, by kind, or by the device they trade with.",
    ),
    (
        "R168",
        "A participation contract has an `id`, a day or moment in UTC at which it begins and one at which it ends, and, where the rig names its terms, the SHA3-256 digest of those that it accepts. As a warning: it accepts other terms than those that hold, so its participant trades nothing (M058).",
    ),
    (
        "R169",
        "`terms` of `[regulation]` names the file with the terms of participation. Contracts accept it by its digest, so it must be there.",
    ),
    (
        "R170",
        "`[regulation.data]` protects participants where something of the market is shown. Pseudonyms need a salt of 16 characters or more that only the bench knows; a resolution is a positive energy.",
    ),
    (
        "R171",
        "A participant with `forecast = \"profile\"` knows the course of a day: powers of its device in watts, positive into the bus, equally far apart from the beginning of the day on (`profile_w`), and how long a day is (`profile_day`, 24 h by default).",
    ),
    (
        "R172",
        "`[market.reserve]` buys readiness for a service of `[service]` that follows a signal, of storages that deliver it. Each device of that service has one participant that offers `reserve`, with the whole device; a meter at the coupling says what the utility gets.",
    ),
    (
        "R173",
        "What a participant offers to be ready for must fit into its device beside all that other services reserve: into its limits, its ramp within the time of the service, and its charge for as long as the service must be sustained.",
    ),
    (
        "R176",
        "`[market.feeder]` trades on the lines of `[network]`, so the rig has one, its band of voltage holds the nominal one, and its mechanism is the uniform price: a feeder is merged by it.",
    ),
    (
        "R177",
        "Heating: `wanted` lies above `limit`, `outside`, where the room ends with the load off, below `limit`'s side of it, and `running`, where it ends with the load always on, above `wanted`. Cooling is the mirror image. Time constant and deviation are not negative.",
    ),
    (
        "R180",
        "`real_time = \"balancing_energy\"` lets stand what was traded before and activates bids for what is expected beyond it. So something is traded before: ahead, within the day or by contract; and no `[market.feeder]` or `[market.reserve]` is there, which are of the auction in real time. Under `[market.penalty]` everybody must have been able to trade before, so ahead or within the day.",
    ),
    (
        "R181",
        "The gate of a market interval closes early enough for what follows it by the clock of the bench: asking agents and clearing, orders and clearing durable on the ledger, and setpoints at the devices that the market commands, whose answers are waited for as long as the time-out of their bus. It closes no earlier than the interval before begins.",
    ),
    (
        "R182",
        "`time_factor` lets market time run faster than the clock of the bench. Devices do not become faster: each must reach any power within a tenth of an interval by the clock of the bench, and what is called and held in the time of the bench (`[market.reserve]`), or warms and cools in it (`strategy = \"hvac\"`), is not there. The interval is a whole number of nanoseconds by either clock.",
    ),
    (
        "R185",
        "`procurement = \"co_optimised\"` clears energy and readiness in one program at one price of energy. So the mechanism is the uniform price, there is no `[market.feeder]`, whose nodes have a price each, and no more participants offer reserve than one program takes.",
    ),
    (
        "W001",
        "The page and its commands would be open to the network. Beyond this machine the page needs TLS (`--tls DIR`), since a token would be read by everybody on the way, and tokens (`--tokens FILE`). `gridrig init DIR` makes both. Or serve it on loopback and reach it through a tunnel.",
    ),
    (
        "W002",
        "A token of the API is empty, holds characters that no header can carry, or is too short (16 characters at least) for a page that others can reach.",
    ),
];
