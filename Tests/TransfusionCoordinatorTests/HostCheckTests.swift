import Foundation
import Testing
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

@Suite struct HostCheckTests {
    private func answer(_ host: String, rate: Double = 100e9) -> HostCheck.Answer {
        var answer = HostCheck.Answer(host: host, slots: 2)
        let report = HostReport(
            program: "a1", openMPI: "Open MPI v4.1.4", processors: 2, memoryNodes: 1, kernels: "x86-64-v4",
            openBLAS: "SkylakeX", oneDNN: "avx512_core")
        answer.probe = HostProbe(
            report: report, begin: 0, end: 1, matrixRate: rate, sharedMemoryBytes: 8 << 30, directoryProblem: nil)
        answer.clockSeconds = 0
        return answer
    }

    private func check(_ change: (inout HostCheck.Answer) -> Void) -> HostCheck {
        var other = answer("node3")
        change(&other)
        return HostCheck([answer("node1"), answer("node2"), other], shared: "/shared")
    }

    @Test func equalHostsHaveNoProblem() {
        let check = check { _ in }
        #expect(check.problems.isEmpty && check.warnings.isEmpty)
        #expect(check.table.split(separator: "\n").count == 4)
    }

    @Test func problemsNameTheHost() throws {
        let silent = check {
            $0.probe = nil
            $0.failure = "does not answer"
        }
        #expect(silent.problems == ["node3: does not answer"])
        let directory = check { $0.directoryProblem = "is not seen" }
        #expect(directory.problems == ["node3: /shared: is not seen"])
        let found: [(HostCheck, String)] = [
            (check { $0.probe?.sharedMemoryBytes = nil }, "node3: /dev/shm"),
            (check { $0.probe?.report.program = "b2" }, "(b2) on node3"),
            (check { $0.probe?.report.openMPI = "Open MPI v5.0.3" }, "Open MPI v5.0.3 on node3"),
        ]
        for (check, text) in found {
            #expect(check.problems.count == 1 && check.problems[0].contains(text), "\(check.problems)")
        }
    }

    @Test func anotherOpenMPIOnAllHostsIsNamed() throws {
        for (version, isRight) in [("v4.1.4", true), ("v4.1.10", true), ("v4.0.7", false), ("v5.0.3", false)] {
            var one = answer("node1"), two = answer("node2")
            one.probe?.report.openMPI = "Open MPI \(version)"
            two.probe?.report.openMPI = "Open MPI \(version)"
            let problems = HostCheck([one, two], shared: "/shared").problems
            #expect(problems.isEmpty == isRight && problems.allSatisfy { $0.contains("install") }, "\(problems)")
        }
    }

    @Test(arguments: [
        (": cannot execute binary file: Exec format error", "it is built for other processors"),
        ("tf-bench: 4: Syntax error: word unexpected", "it is built for other processors"),
        ("tf-bench: error while loading shared libraries: libmpi.so.40: cannot open", "install Open MPI 4.1 there"),
        ("tf-bench: error while loading shared libraries: libdnnl.so.2: cannot open", "install the package with apt"),
        ("tf-bench: libc.so.6: version `GLIBC_2.36' not found", "its system is older"),
        ("env: '/usr/bin/tf-bench': No such file or directory", "install the same build at the same path"),
        ("Connection to node3 closed by remote host.", "was lost while it was asked"),
    ])
    func whyAProgramDoesNotRunIsSaidWithTheRemedy(_ message: String, _ remedy: String) {
        let reason = HostCheck.reason(whyNotRunning: "/usr/bin/tf-bench", saying: message)
        #expect(reason.contains(message) && reason.contains(remedy), "\(reason)")
    }

    @Test func warningsNameTheHost() throws {
        let found: [(HostCheck, String)] = [
            (check { $0.probe?.matrixRate = 70e9 }, "node3: slow: its matrix products reach 70 %"),
            (check { $0.clockSeconds = -7 }, "node3: its clock is 7.0 s behind"),
            (check { $0.probe?.sharedMemoryBytes = 64 << 20 }, "node3: /dev/shm has 64 MiB"),
            (check { $0.slots = 3 }, "give slots=2"),
        ]
        for (check, text) in found {
            #expect(check.problems.isEmpty && check.warnings.count == 1, "\(check.warnings)")
            #expect(check.warnings.first?.contains(text) == true, "\(check.warnings)")
        }
        for check in [check { $0.probe?.matrixRate = 85e9 }, check { $0.clockSeconds = 0.5 }] {
            #expect(check.warnings.isEmpty)
        }
        // Of two hosts, the slow one.
        let two = HostCheck([answer("node1"), answer("node2", rate: 50e9)], shared: "/shared")
        #expect(two.problems.isEmpty && two.warnings.count == 1 && two.warnings[0].hasPrefix("node2: slow"))
    }

    @Test func aDirectoryIsSharedWhenAnswersAreSeen() throws {
        let temporary = try TemporaryDirectory()
        var check: SharedDirectoryCheck? = try SharedDirectoryCheck(in: temporary.path)
        let path = try #require(check?.path)
        #expect(check?.hasAnswer(of: "node1") == false)
        // In this process: the lock is taken all the same, as it belongs to another opening of the file.
        #expect(SharedDirectoryCheck.answer(in: path, as: "node1") == nil)
        #expect(check?.hasAnswer(of: "node1") == true && check?.hasAnswer(of: "node2") == false)
        #expect(SharedDirectoryCheck.answer(in: path + "x", as: "node1")?.hasPrefix("is not seen there") == true)
        check = nil
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path).isEmpty, "something is left")
        #expect(throws: (any Error).self) { try SharedDirectoryCheck(in: "/proc/self") }
    }

    @Test func locksThatDoNotHoldAreFound() throws {
        let temporary = try TemporaryDirectory()
        try "a".write(toFile: temporary.file("mark"), atomically: true, encoding: .utf8)
        try "".write(toFile: temporary.file("lock"), atomically: true, encoding: .utf8)
        #expect(SharedDirectoryCheck.answer(in: temporary.path, as: "node1")?.hasPrefix("locks do not hold") == true)
    }
}
