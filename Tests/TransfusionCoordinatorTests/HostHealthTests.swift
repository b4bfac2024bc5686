import Testing
import TransfusionTelemetry

@testable import TransfusionCoordinator

@Suite struct HostHealthTests {
    private let hosts = [
        ComputeHost.local(slots: 2), ComputeHost(name: "node02", slots: 2), ComputeHost(name: "node03", slots: 2),
    ]

    /// On a busy machine even `true` takes its time.
    private func health(_ shell: String) -> HostHealth {
        HostHealth(hosts, shell: RemoteShell(shell), answerTime: 600)
    }

    private let well = HostHealth.Answer(
        processesLeft: 0,
        report: HostReport(
            program: "a1", openMPI: "Open MPI v4.1.4", processors: 2, memoryNodes: 1, kernels: "x86-64-v4",
            openBLAS: "SkylakeX", oneDNN: "avx512_core"))

    private var all: [String: HostHealth.Answer] { ["localhost": well, "node02": well, "node03": well] }

    private func conditions(_ health: HostHealth) -> [RunStatus.HostStatus.Condition] {
        health.statuses(used: []).map(\.condition)
    }

    @Test func aHostThatFailsAgainAndAgainIsSetAside() {
        var health = health("true")
        health.failed("node02", at: -4000)
        health.failed("node02")
        health.failed("node02")
        #expect(health.usable == hosts, "the first is long ago")
        health.failed("node02")
        #expect(health.usable.map(\.name) == ["localhost", "node03"])
        #expect(conditions(health) == [.spare, .setAside, .spare])
        #expect(health.statuses(used: []).map(\.failures) == [0, 3, 0])
        // It is well, but its time is not over.
        #expect(health.take(all).isEmpty && health.missing.isEmpty)
        #expect(health.usable.map(\.name) == ["localhost", "node03"])
        // The run needs it.
        #expect(health.takeBackSetAside() && health.missing == ["node02"])
        _ = health.take(all, of: ["node02"])
        #expect(health.usable == hosts && !health.takeBackSetAside())
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
        #expect(health.take([:], of: ["node03"]).map(\.reason) == ["no answer"])
        #expect(health.missing == ["node03"])
        #expect(health.take(all, of: ["node03"]).isEmpty)
        #expect(health.usable == hosts && health.missing.isEmpty)
    }

    @Test func onlyAHostThatIsWellIsTakenIn() throws {
        var health = health("true")
        #expect(health.take(all).isEmpty)
        var other = try #require(well.report)
        other.program = "b2"
        let answers = [
            "node02": HostHealth.Answer(processesLeft: 0, report: other),
            "node03": HostHealth.Answer(processesLeft: 1, report: well.report),
        ]
        let reasons = health.take(answers, of: ["node02", "node03"])
        #expect(reasons.map(\.name) == ["node02", "node03"])
        #expect(reasons[0].reason.contains("(b2) on node02") && reasons[1].reason.contains("do not end"))
        #expect(health.usable.map(\.name) == ["localhost"])
        _ = health.take(["node02": HostHealth.Answer(processesLeft: 0, report: nil)], of: ["node02"])
        #expect(health.missing == ["node02", "node03"])
        // All have a new build by now.
        let new = HostHealth.Answer(processesLeft: 0, report: other)
        #expect(health.take(["localhost": new, "node02": new, "node03": new]).isEmpty && health.usable == hosts)
    }

    @Test func thisHostHasOneName() {
        let names = ["localhost", "127.0.0.1", "node.invalid", "localhost"]
        let unified = ComputeHost.unified(names.map { ComputeHost(name: $0, slots: 2) })
        #expect(unified == [.local(slots: 6), ComputeHost(name: "node.invalid", slots: 2)])
    }

    @Test func hostsAnswerOrDoNot() async {
        #expect(await health("true").answering(["node02", "node03"]) == ["node02", "node03"])
        #expect(await health("false").answering(["node02", "node03"]) == [])
        #expect(await health("/no/such/program").answering(["node02"]) == [])
    }
}
