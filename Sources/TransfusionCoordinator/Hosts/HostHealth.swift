internal import Foundation

/// Which hosts may take ranks: those that can be reached and have not failed too often of late.
struct HostHealth: Sendable {
    private let hosts: [ComputeHost]
    private var failures: [String: Int] = [:]
    /// Until when a host is left out, on the monotonic clock.
    private var setAside: [String: Double] = [:]
    private var away: Set<String> = []

    /// A host that failed so often in a row is left out for a while.
    private static let patience = 3
    private static let pause = 600.0
    /// For an answer over ssh.
    private static let answerTime = 5.0

    init(_ hosts: [ComputeHost]) {
        self.hosts = hosts
    }

    /// Takes note of a failure that a host is to blame for.
    mutating func failed(_ name: String) {
        guard hosts.contains(where: { $0.name == name }), name != ComputeHost.localName else { return }
        failures[name, default: 0] += 1
        if failures[name, default: 0] % Self.patience == 0 { setAside[name] = MonotonicTime.seconds + Self.pause }
    }

    var names: Set<String> { Set(hosts.map(\.name)) }

    /// Takes note of which hosts do not answer now.
    /// - Returns: Those that do and are not set aside.
    mutating func usable(besides unreachable: [String]) -> [ComputeHost] {
        away = Set(unreachable)
        let now = MonotonicTime.seconds
        return hosts.filter { !away.contains($0.name) && setAside[$0.name] ?? 0 <= now }
    }

    /// Those of the hosts that do not answer.
    func unreachable(_ names: Set<String>) async -> [String] {
        await withTaskGroup(of: String?.self) { group in
            for name in names where hosts.contains(where: { $0.name == name }) && name != ComputeHost.localName {
                group.addTask {
                    await RemoteShell.run("true", on: name, within: Self.answerTime) == nil ? name : nil
                }
            }
            var result: [String] = []
            for await name in group { if let name { result.append(name) } }
            return result.sorted()
        }
    }

    /// Ends the processes of a launch on other hosts.
    /// - Returns: How many there were. Hosts that do not answer count none: they are left out of the next launch.
    func killAll(launch: String, on names: [String]) async -> Int {
        await withTaskGroup(of: Int.self) { group in
            for name in names where name != ComputeHost.localName {
                group.addTask {
                    let output = await RemoteShell.run(
                        RemoteShell.killScript(launch), on: name, within: 2 * Self.answerTime)
                    return output.flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) } ?? 0
                }
            }
            return await group.reduce(0, +)
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
