import Testing
import TransfusionTelemetry

@testable import TransfusionCoordinator

@Suite struct HostHealthTests {
    private let hosts = [
        ComputeHost.local(slots: 2), ComputeHost(name: "node02", slots: 2), ComputeHost(name: "node03", slots: 2),
    ]

    private func health(_ shell: String) -> HostHealth { HostHealth(hosts, shell: RemoteShell(shell)) }

    private func conditions(_ health: HostHealth) -> [RunStatus.HostStatus.Condition] {
        health.statuses(used: []).map(\.condition)
    }

    @Test func aHostThatFailsAgainAndAgainIsSetAside() {
        var health = health("true")
        health.failed("node02")
        health.failed("node02")
        #expect(health.usable == hosts)
        health.failed("node02")
        #expect(health.usable.map(\.name) == ["localhost", "node03"])
        #expect(conditions(health) == [.spare, .setAside, .spare])
        #expect(health.statuses(used: []).map(\.failures) == [0, 3, 0])
    }

    @Test func thisHostIsNeverSetAside() {
        var health = health("true")
        for _ in 1...9 { health.failed("localhost") }
        #expect(health.usable == hosts)
    }

    @Test func aHostThatIsAwayIsMissedUntilItComesBack() {
        var health = health("true")
        health.leave(["node03"])
        #expect(health.usable.map(\.name) == ["localhost", "node02"] && health.missing == ["node03"])
        #expect(conditions(health) == [.spare, .spare, .away])
        health.comeBack(["node03"])
        #expect(health.usable == hosts && health.missing.isEmpty)
    }

    @Test func hostsAnswerOrDoNot() async {
        #expect(await health("true").answering(["node02", "node03"]) == ["node02", "node03"])
        #expect(await health("false").answering(["node02", "node03"]) == [])
        #expect(await health("/no/such/program").answering(["node02"]) == [])
    }
}
