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
    /// When hosts have failed, on the monotonic clock.
    private var failures: [String: [Double]] = [:]
    /// Until when a host is left out.
    private var setAside: [String: Double] = [:]
    /// Hosts that have to show first that they are well.
    private var away: Set<String> = []
    /// What the hosts compute with that may take ranks.
    private(set) var reports: [String: HostReport] = [:]
    /// The build and the Open MPI that all must have.
    private var reference: HostReport?

    /// A host that failed so often within `window` seconds is left out for `pause` seconds.
    private static let patience = 3
    private static let window = 3600.0
    private static let pause = 600.0
    /// For an answer of another host, in seconds.
    private let answerTime: Double

    init(_ hosts: [ComputeHost], shell: RemoteShell, answerTime: Double = 10) {
        self.hosts = hosts
        self.shell = shell
        self.answerTime = answerTime
    }

    /// Takes note of a failure that a host is to blame for.
    mutating func failed(_ name: String, at now: Double = MonotonicTime.seconds) {
        guard remoteNames.contains(name) else { return }
        failures[name] = (failures[name] ?? []).filter { now - $0 < Self.window } + [now]
        if failures[name]?.count.isMultiple(of: Self.patience) == true { putAside([name], at: now) }
    }

    /// Leaves hosts out for a while; then they have to show that they are well.
    mutating func putAside(_ names: some Sequence<String>, at now: Double = MonotonicTime.seconds) {
        for name in names { setAside[name] = now + Self.pause }
        away.formUnion(names)
    }

    /// Lets hosts that were set aside show that they are well, because the run needs them.
    /// - Returns: Whether there are any.
    mutating func takeBackSetAside() -> Bool {
        defer { setAside = [:] }
        return hosts.contains { isSetAside($0.name) }
    }

    private func isSetAside(_ name: String) -> Bool { setAside[name] ?? -.infinity > MonotonicTime.seconds }

    var remoteNames: [String] { hosts.filter { !$0.isLocal }.map(\.name) }

    /// Hosts that may take ranks, as far as is known.
    var usable: [ComputeHost] { hosts.filter { !away.contains($0.name) } }

    /// Hosts that would be used if they were well.
    var missing: [String] { remoteNames.filter { away.contains($0) && !isSetAside($0) } }

    mutating func leave(_ names: some Sequence<String>) { away.formUnion(names) }

    /// Those of some hosts that answer.
    func answering(_ names: [String]) async -> [String] {
        await onEach(names) { name in await shell.run("true", on: name, within: answerTime) == nil ? nil : name }
            .map(\.value).sorted()
    }

    /// Ends what earlier launches of a run have left on hosts, and asks what they compute with.
    /// - Parameters:
    ///   - names: Of hosts on which no rank of the run is wanted now; nil for all.
    ///   - bench: The path of tf-bench.
    /// - Returns: Nothing for hosts that do not answer.
    func prepare(_ names: [String]? = nil, run: String, bench: String) async -> [String: Answer] {
        // Told what the ranks will be told, it computes with what they will compute with.
        let choices = MPICommandLine.choices.map { RemoteShell.quoted("\($0.key)=\($0.value)") }
        let report = (["env"] + choices + [RemoteShell.quoted(bench), "host", "--json"]).joined(separator: " ")
        let script = RemoteShell.killScript(run) + "; \(report) || true"
        let answers = await onEach(names ?? hosts.map(\.name)) { name -> Answer? in
            guard let output = await shell.run(script, on: name, within: 3 * answerTime) else { return nil }
            let lines = output.split(separator: "\n")
            guard let count = lines.first.flatMap({ Int($0.trimmingPrefix(" ")) }) else { return nil }
            let report = lines.last.flatMap { try? JSONDecoder().decode(HostReport.self, from: Data($0.utf8)) }
            return Answer(processesLeft: count, report: report)
        }
        return Dictionary(uniqueKeysWithValues: answers.map { ($0.name, $0.value) })
    }

    /// Takes hosts in that are well, and leaves out the others of those that were asked.
    /// - Parameters:
    ///   - answers: What `prepare` gave.
    ///   - names: Those that were asked; nil for all.
    /// - Returns: Why hosts are left out.
    mutating func take(_ answers: [String: Answer], of names: [String]? = nil) -> [(name: String, reason: String)] {
        let reports = answers.filter { $0.value.processesLeft == 0 }.compactMapValues(\.report)
        func agree(_ name: String, _ reference: HostReport) -> HostComparison {
            HostComparison([name: reports[name] ?? reference, "the others": reference])
        }
        // The one that the run has begun with, unless all hosts have another by now.
        if names == nil || reference == nil,
            !reports.keys.contains(where: { name in reference.map { agree(name, $0).conflicts.isEmpty } ?? false })
        {
            reference = HostComparison.mostCommon(reports)
        }
        var reasons: [(name: String, reason: String)] = []
        for name in names ?? hosts.map(\.name) {
            let reason: String? =
                if let answer = answers[name] {
                    if answer.processesLeft > 0 {
                        "processes of an earlier launch do not end there"
                    } else if answer.report != nil, let reference {
                        agree(name, reference).conflicts.first
                    } else {
                        "tf-bench does not run there; are the programs and the file system there?"
                    }
                } else {
                    "no answer"
                }
            if let reason {
                away.insert(name)
                self.reports[name] = nil
                reasons.append((name, reason))
            } else {
                if !isSetAside(name) { away.remove(name) }
                self.reports[name] = reports[name]
            }
        }
        return reasons
    }

    /// Ends the processes of a run on other hosts.
    /// - Returns: How many are left where there are some. Hosts that do not answer are left out of the next launch, and
    ///   cleared by `prepare` when they come back.
    func killAll(run: String, on names: [String]) async -> [String: Int] {
        let counts = await onEach(names.filter { $0 != ComputeHost.localName && !away.contains($0) }) { name in
            await shell.run(RemoteShell.killScript(run), on: name, within: 2 * answerTime)
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
        hosts.map { host in
            let ranks = used.first { $0.name == host.name }?.slots ?? 0
            let condition: RunStatus.HostStatus.Condition =
                ranks > 0
                ? .used : isSetAside(host.name) ? .setAside : away.contains(host.name) ? .away : .spare
            return RunStatus.HostStatus(
                name: host.name, slots: host.slots, ranks: ranks, condition: condition,
                failures: failures[host.name]?.count ?? 0)
        }
    }
}
