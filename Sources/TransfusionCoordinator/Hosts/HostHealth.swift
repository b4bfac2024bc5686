internal import Foundation
internal import TransfusionTelemetry

/// Which hosts may take ranks: those that can be reached and have not failed too often of late.
struct HostHealth: Sendable {
    /// What a host answered before a launch.
    struct Answer: Sendable {
        /// Processes of earlier launches that do not end.
        let processesLeft: Int
        /// nil when it cannot say.
        let report: HostReport?
    }

    let shell: RemoteShell
    private let hosts: [ComputeHost]
    private var failures: [String: Int] = [:]
    /// Until when a host is left out, on the monotonic clock.
    private var setAside: [String: Double] = [:]
    private var away: Set<String> = []

    /// A host that failed so often in a row is left out for a while.
    private static let patience = 3
    private static let pause = 600.0
    /// For an answer of another host.
    private static let answerTime = 10.0

    init(_ hosts: [ComputeHost], shell: RemoteShell) {
        self.hosts = hosts
        self.shell = shell
    }

    /// Takes note of a failure that a host is to blame for.
    mutating func failed(_ name: String) {
        guard remoteNames.contains(name) else { return }
        failures[name, default: 0] += 1
        if failures[name, default: 0] % Self.patience == 0 { setAside[name] = MonotonicTime.seconds + Self.pause }
    }

    var remoteNames: [String] { hosts.map(\.name).filter { $0 != ComputeHost.localName } }

    /// Hosts that may take ranks, as far as is known.
    var usable: [ComputeHost] {
        let now = MonotonicTime.seconds
        return hosts.filter { !away.contains($0.name) && setAside[$0.name] ?? 0 <= now }
    }

    /// Hosts that would be used if they answered.
    var missing: [String] {
        let now = MonotonicTime.seconds
        return remoteNames.filter { away.contains($0) && setAside[$0] ?? 0 <= now }
    }

    mutating func leave(_ names: some Sequence<String>) { away.formUnion(names) }
    mutating func comeBack(_ names: some Sequence<String>) { away.subtract(names) }

    /// Those of some hosts that answer.
    func answering(_ names: [String]) async -> [String] {
        await onEach(names) { name in await shell.run("true", on: name, within: Self.answerTime) == nil ? nil : name }
            .map(\.value).sorted()
    }

    /// Ends what earlier launches of a run have left on all hosts, and asks what they compute with.
    /// - Parameter bench: The path of tf-bench.
    /// - Returns: Nothing for hosts that do not answer.
    func prepare(run: String, bench: String) async -> [String: Answer] {
        // Told what the ranks will be told, it computes with what they will compute with.
        let choices = MPICommandLine.choices.map { RemoteShell.quoted("\($0.key)=\($0.value)") }
        let report = (["env"] + choices + [RemoteShell.quoted(bench), "host", "--json"]).joined(separator: " ")
        let script = RemoteShell.killScript(run) + "; \(report) || true"
        let answers = await onEach(hosts.map(\.name)) { name -> Answer? in
            guard let output = await shell.run(script, on: name, within: 3 * Self.answerTime) else { return nil }
            let lines = output.split(separator: "\n")
            guard let count = lines.first.flatMap({ Int($0.trimmingPrefix(" ")) }) else { return nil }
            let report = lines.last.flatMap { try? JSONDecoder().decode(HostReport.self, from: Data($0.utf8)) }
            return Answer(processesLeft: count, report: report)
        }
        return Dictionary(uniqueKeysWithValues: answers.map { ($0.name, $0.value) })
    }

    /// Ends the processes of a run on other hosts.
    /// - Returns: How many are left where there are some. Hosts that do not answer are left out of the next launch, and
    ///   cleared by `prepare` when they come back.
    func killAll(run: String, on names: [String]) async -> [String: Int] {
        let counts = await onEach(names.filter { $0 != ComputeHost.localName && !away.contains($0) }) { name in
            await shell.run(RemoteShell.killScript(run), on: name, within: 2 * Self.answerTime)
                .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
        return Dictionary(uniqueKeysWithValues: counts.filter { $0.value > 0 }.map { ($0.name, $0.value) })
    }

    private func onEach<Value: Sendable>(
        _ names: [String], _ work: @escaping @Sendable (String) async -> Value?
    ) async -> [(name: String, value: Value)] {
        await withTaskGroup(of: (name: String, value: Value)?.self) { group in
            for name in names { group.addTask { await work(name).map { (name, $0) } } }
            return await group.reduce(into: []) { if let answer = $1 { $0.append(answer) } }
        }
    }

    func statuses(used: [ComputeHost]) -> [RunStatus.HostStatus] {
        let now = MonotonicTime.seconds
        return hosts.map { host in
            let ranks = used.first { $0.name == host.name }?.slots ?? 0
            let condition: RunStatus.HostStatus.Condition =
                ranks > 0
                ? .used
                : away.contains(host.name)
                    ? .away
                    : setAside[host.name] ?? 0 > now ? .setAside : .spare
            return RunStatus.HostStatus(
                name: host.name, slots: host.slots, ranks: ranks, condition: condition,
                failures: failures[host.name] ?? 0)
        }
    }
}
