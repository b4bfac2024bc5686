import Foundation
import Testing
import TransfusionTelemetry

@testable import TransfusionCoordinator

/// What a look at processes says, above all when it fails. In processes of their own, as limits belong to all threads.
@Suite struct ProcessTableTests {
    @Test func whatCannotBeSeenIsNotGone() async {
        await #expect(processExitsWith: .success) {
            // This process is one of the run, in a child that inherits its environment.
            setenv(HeartbeatEndpoint.launchVariable, "some-run.1", 1)
            let child = Process()
            child.executableURL = URL(filePath: "/bin/sleep")
            child.arguments = ["60"]
            try child.run()
            defer { child.terminate() }
            let pid = child.processIdentifier
            func expect(_ holds: Bool, _ code: Int32) {
                if !holds {
                    kill(pid, SIGKILL)
                    exit(code)
                }
            }
            let deadline = Date(timeIntervalSinceNow: 20)
            while ProcessTable.survey(ofRun: "some-run").processes != [pid] { expect(Date() < deadline, 3) }
            expect(ProcessTable.survey(ofRun: "another").provesNone, 4)
            expect(ProcessTable.look(at: pid) == .alive, 5)
            // What waits needs descriptors of its own, which it keeps.
            expect(await ShortCommand.run("true", [], within: 20)?.isSuccess == true, 2)
            let memoryKills = ProcessTable.outOfMemoryKills

            var limits = rlimit()
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
            getrlimit(resource, &limits)
            let before = limits.rlim_cur
            limits.rlim_cur = 3
            setrlimit(resource, &limits)
            expect(ProcessTable.look(at: pid) == .unknown, 6)
            let survey = ProcessTable.survey(ofRun: "some-run")
            expect(survey.obstacle == "/proc cannot be read: Too many open files" && !survey.provesNone, 7)
            expect(!ProcessTable.survey(ofRun: "another").provesNone, 8)
            // No process has that number, and no descriptor is needed to see it.
            expect(ProcessTable.look(at: 1 << 30) == .gone, 9)
            expect(ProcessTable.outOfMemoryKills == memoryKills, 10)
            expect(Descriptors.shortage() == "no descriptor can be opened: Too many open files", 11)
            // Not enough to start a program with, which would end this process halfway.
            expect(await ShortCommand.run("true", [], within: 0.2) == nil, 12)

            limits.rlim_cur = before
            setrlimit(resource, &limits)
            expect(ProcessTable.look(at: pid) == .alive, 13)
            expect(await ShortCommand.run("true", [], within: 20)?.isSuccess == true, 14)
            kill(pid, SIGKILL)
            while ProcessTable.look(at: pid) == .alive { expect(Date() < deadline, 15) }
            expect(ProcessTable.look(at: pid) == .gone, 16)
        }
    }

    @Test func theLimitOfDescriptorsIsRaised() async {
        await #expect(processExitsWith: .success) {
            var limits = rlimit()
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
            getrlimit(resource, &limits)
            limits.rlim_cur = 100
            setrlimit(resource, &limits)
            guard Descriptors.limit == 100, Descriptors.forClients == 75 else { exit(3) }
            Descriptors.raiseLimit()
            guard Descriptors.limit == Int(min(limits.rlim_max, 8192)) else { exit(4) }
            guard Descriptors.forClients == Descriptors.limit - min(256, Descriptors.limit / 4) else { exit(5) }
        }
    }
}
