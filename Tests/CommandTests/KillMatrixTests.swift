import Foundation
import Testing
import TransfusionCoordinator
import TransfusionTelemetry
import _TestUtilities

/// Runs under tf-coord and a real mpirun that lose a process in every way, at a moment left to chance: each has to finish
/// by itself with the bits of an undisturbed run, name the cause, and leave no process behind.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(20))) struct KillMatrixTests {
    enum Fault: String, CaseIterable, CustomTestStringConvertible {
        case killedWorker, crashingWorker, stoppedWorker, exitingWorker, workerWithoutMemory, workerThatTakesTooMuch
        case killedLauncher, killedCoordinator, killedWhileSaving, killedWhileLoading

        static let possible = allCases.filter { $0 != .workerThatTakesTooMuch || MemoryGroup.isPossible }

        var testDescription: String { rawValue }
    }

    /// The undisturbed run that all others are compared with.
    private struct Reference {
        let temporary = try! TemporaryDirectory()
        let dataset = try! SmallDataset()
        let run: SupervisedRun

        init() throws {
            run = try SupervisedRun("undisturbed", in: temporary, dataset: dataset)
            try run.start()
            #expect(try run.finish() == 0, "\(run.log)")
        }
    }

    // Safe: the tests of this suite run one after another, and only they use it.
    nonisolated(unsafe) private static let reference = Result { try Reference() }

    @Test(arguments: Fault.possible, killRounds) func aRunSurvives(_ fault: Fault, _ round: Int) throws {
        let reference = try Self.reference.get()
        let run = try SupervisedRun("\(fault.rawValue)-\(round)", in: reference.temporary, dataset: reference.dataset)
        // Memory that was refused is noticed when some is needed: for the first checkpoint, which comes late here.
        let needsMemory = [.workerWithoutMemory, .workerThatTakesTooMuch].contains(fault)
        try run.start(needsMemory ? ["--set", "checkpoint.every_steps=\(SupervisedRun.steps * 2 / 3)"] : [])
        // Most of the run is left, as fast machines take many steps before a debugger has begun.
        let moment = Int.random(in: 5...SupervisedRun.steps / 5)
        let before = try run.wait("step \(moment)") {
            $0.step >= moment && $0.state != .starting && $0.ranks.count == 2
        }
        let victim = try #require(before.ranks.randomElement())
        let group = fault == .workerThatTakesTooMuch ? try MemoryGroup(bytes: 64 << 10) : nil
        try group?.add(victim.pid)
        try inject(fault, into: run, victim)

        #expect(try run.finish() == 0, "\(run.log)")
        let status = try #require(run.status)
        #expect(status.state == .done && status.step == SupervisedRun.steps && status.exit?.code == 0)
        #expect(run.processes.isEmpty, "orphans after \(fault)")
        let difference = try Command("tf-ckpt").run("diff", reference.run.checkpoint(), run.checkpoint())
        #expect(difference.status == 0, "\(fault) at step \(moment): \(difference.output)\(difference.errors)")
        expectCause(fault, status, victim.rank, run)
    }

    private func inject(_ fault: Fault, into run: SupervisedRun, _ victim: RunStatus.RankStatus) throws {
        switch fault {
        case .killedWorker: kill(victim.pid, SIGKILL)
        case .crashingWorker: try debug(victim.pid, "set var $pc = 0")
        case .stoppedWorker: kill(victim.pid, SIGSTOP)
        case .exitingWorker:
            // As if the program had called it: what a person with a debugger can do.
            try debug(victim.pid, "call (void)_exit(1)")
        case .workerWithoutMemory:
            let bytes = 64 << 20
            _ = try Command.onPath("prlimit").run(["--pid", "\(victim.pid)", "--as=\(bytes)", "--data=\(bytes)"])
        case .workerThatTakesTooMuch: break  // It is in its group.
        case .killedLauncher: kill(try #require(run.launcher), SIGKILL)
        case .killedCoordinator:
            let process = try #require(run.process)
            process.send(SIGKILL)
            _ = try process.wait()
            try run.start()
        case .killedWhileSaving:
            let deadline = Date(timeIntervalSinceNow: 60)
            let checkpoints = run.directory + "/checkpoints"
            func isSaving() -> Bool {
                (try? FileManager.default.contentsOfDirectory(atPath: checkpoints))?.contains {
                    $0.hasSuffix(".partial")
                } == true
            }
            while !isSaving(), Date() < deadline { usleep(200) }
            kill(victim.pid, SIGKILL)
        case .killedWhileLoading:
            kill(victim.pid, SIGKILL)
            let starting = try run.wait("the second launch") { status in
                status.ranks.contains { $0.pid != victim.pid && $0.phase == .starting } && status.restarts.count == 1
            }
            for rank in starting.ranks { kill(rank.pid, SIGKILL) }
        }
    }

    private func debug(_ pid: Int32, _ command: String) throws {
        let gdb = try Command.onPath("gdb").path
        // Neither the process nor the debugger, which may crash when the process goes, shall leave a dump behind.
        for arguments in [["--pid", "\(pid)"], [gdb, "-p", "\(pid)", "-batch", "-nx", "-readnever", "-ex", command]] {
            _ = try Command.onPath("prlimit").run(["--core=0"] + arguments)
        }
    }

    private func expectCause(_ fault: Fault, _ status: RunStatus, _ victim: Int, _ run: SupervisedRun) {
        let cause = status.recoveries.first?.cause
        let kinds = status.recoveries.map(\.cause.kind)
        let message: Comment = "\(fault): \(status.recoveries.map(\.cause.summary)); \(run.log)"
        switch fault {
        case .killedWorker, .killedWhileSaving:
            #expect(kinds == [.signal] && cause?.signal == "SIGKILL" && cause?.rank == victim, message)
        case .crashingWorker:
            #expect(kinds == [.signal] && cause?.signal == "SIGSEGV" && cause?.rank == victim, message)
        case .stoppedWorker: #expect(kinds == [.hang] && cause?.rank == victim && cause?.signal == "SIGSTOP", message)
        case .exitingWorker: #expect(kinds == [.exit] && cause?.rank == victim && cause?.exitCode == 1, message)
        case .workerWithoutMemory: #expect(kinds == [.allocationFailure] && cause?.rank == victim, message)
        case .workerThatTakesTooMuch: #expect(kinds == [.outOfMemory] && cause?.rank == victim, message)
        case .killedLauncher: #expect(kinds == [.launcher] && cause?.signal == "SIGKILL", message)
        case .killedCoordinator: #expect(kinds == [.coordinator], message)
        case .killedWhileLoading: #expect(kinds.count >= 2 && kinds.allSatisfy { $0 == .signal }, message)
        }
        for recovery in status.recoveries where recovery.cause.kind == .signal && fault != .killedWhileLoading {
            #expect(recovery.firstStep != nil && recovery.lostSteps != nil, message)
        }
    }
}

/// One round in continuous integration; TRANSFUSION_KILL_ROUNDS=3 for the whole matrix.
private let killRounds = 1...(ProcessInfo.processInfo.environment["TRANSFUSION_KILL_ROUNDS"].flatMap { Int($0) } ?? 1)
