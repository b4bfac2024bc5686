internal import Foundation
internal import TransfusionConfig

extension RunSupervisor {
    /// What the end of mpirun means.
    /// - Parameters:
    ///   - memoryKills: What the kernel had ended for want of memory when the launch began.
    ///   - suspect: The rank whose process was seen to go first, if one was.
    func judge(_ end: MPILaunch.End, memoryKills: Int, suspect: Int? = nil) -> LaunchEnd {
        if isEndingAtOnce { return .stopped }
        refresh(force: true)
        let text = LaunchLog(path: files.log(ofLaunch: state.launch?.number ?? 0))
        switch end {
        case .impossible(let reason): return .refused(FailureCause(.launch, summary: reason))
        case .exited(0): return .finished
        case .exited(CommandFailure.Code.checkpointedAndStopped.rawValue): return .stopped
        case .signaled(let number):
            let name = SignalName.of(number)
            return .failed(FailureCause(.launcher, signal: name, summary: "mpirun was ended by \(name)"))
        case .unobserved where text.firstEnd == nil && text.errors.isEmpty:
            // The ranks said that they were leaving; the steps that are saved say why.
            if checkpoints.step == configuration.schedule.steps { return .finished }
            if detector?.hasFinished == true { return .stopped }
            return .failed(FailureCause(.launcher, summary: "mpirun ended while there was no coordinator"))
        case .exited, .unobserved: return judge(text, end, memoryKills: memoryKills, suspect: suspect)
        }
    }

    private func judge(_ text: LaunchLog, _ end: MPILaunch.End, memoryKills: Int, suspect: Int?) -> LaunchEnd {
        if let step = text.nonFiniteStep {
            let summary = text.errors.last ?? "step \(step): a number is not finite"
            return .failed(FailureCause(.nonFinite, rank: Self.rank(in: summary), summary: summary))
        }
        let code: Int32? = if case .exited(let code) = end { code } else { nil }
        if code == CommandFailure.Code.wrongUse.rawValue, !text.errors.isEmpty {
            return .refused(FailureCause(.exit, exitCode: code, summary: text.errors.joined(separator: "; ")))
        }
        guard let first = text.firstEnd else {
            if let problem = text.launchProblem {
                return .refused(FailureCause(.launch, exitCode: 1, summary: problem))
            }
            if let error = text.errors.first {
                return .failed(FailureCause(.exit, rank: suspect, exitCode: code, summary: error))
            }
            return .failed(
                FailureCause(
                    .exit, rank: suspect, exitCode: code,
                    summary: suspect.map { "the process of rank \($0) has ended" }
                        ?? "mpirun ended with exit code \(code.map(String.init) ?? "?"); see the log of the launch"))
        }
        let host = host(of: first.rank)
        if let number = first.signal {
            let name = SignalName.of(number)
            if number == SIGKILL, ProcessTable.outOfMemoryKills > memoryKills {
                return .failed(
                    FailureCause(
                        .outOfMemory, rank: first.rank, host: host, signal: name,
                        summary:
                            "the kernel ended rank \(first.rank) because memory ran out; lower batch.micro_sequences, "
                            + "or use parallel.recompute or more hosts"))
            }
            if let refusal = text.refusedMemory {
                return .failed(
                    FailureCause(
                        .allocationFailure, rank: first.rank, host: host, signal: name,
                        summary: "rank \(first.rank) got no memory (\(refusal))"))
            }
            return .failed(
                FailureCause(
                    .signal, rank: first.rank, host: host, signal: name,
                    summary: "rank \(first.rank) was ended by \(name)"))
        }
        let reason = text.errors.first { Self.rank(in: $0) == first.rank } ?? text.errors.first
        if let refusal = text.refusedMemory {
            return .failed(
                FailureCause(
                    .allocationFailure, rank: first.rank, host: host, exitCode: first.exitCode,
                    summary: "rank \(first.rank) got no memory (\(refusal))"))
        }
        let ending = "rank \(first.rank) ended with exit code \(first.exitCode ?? 1)"
        return .failed(
            FailureCause(
                .exit, rank: first.rank, host: host, exitCode: first.exitCode,
                summary: reason.map { "\(ending): \($0)" } ?? ending))
    }

    /// The first rank that an error names.
    private static func rank(in error: String) -> Int? {
        error.firstMatch(of: /rank (\d+)/).flatMap { Int($0.1) }
    }
}
