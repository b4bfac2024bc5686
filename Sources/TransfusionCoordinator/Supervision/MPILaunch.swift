internal import Foundation
internal import Subprocess
internal import Synchronization
internal import SystemPackage
internal import TransfusionConfig
internal import TransfusionSupport
internal import TransfusionTelemetry

/// One mpirun with its ranks, in a session of its own, so that neither Ctrl-C nor the end of the coordinator reaches it.
///
/// Its output goes to a file rather than a pipe: a rank that writes lives on when the coordinator is killed.
final class MPILaunch: Sendable {
    enum End: Sendable, Equatable {
        case exited(Int32)
        case signaled(Int32)
        /// mpirun could not be started at all.
        case impossible(LaunchObstacle)
        /// It ended while no coordinator was there to be told how.
        case unobserved
    }

    private struct State {
        var pid: Int32?
        var end: End?
    }

    private let state = Mutex(State())

    /// The process of mpirun, once there is one.
    var pid: Int32? { state.withLock(\.pid) }

    /// How mpirun ended; nil while it runs.
    var end: End? {
        state.withLock { state in
            if state.end == nil, adopted, let pid = state.pid, ProcessTable.look(at: pid) == .gone {
                state.end = .unobserved
            }
            return state.end
        }
    }

    private let adopted: Bool

    /// Whether somebody has sent mpirun a signal to end. It would give the ranks no time to save, so it was started with
    /// these signals blocked, and they stay pending.
    var wasAskedToEnd: Bool { pid.map { ProcessTable.hasPending($0, Self.blockedSignals.map(\.number)) } ?? false }

    private static let blockedSignals = [
        (name: "TERM", number: SIGTERM), (name: "INT", number: SIGINT), (name: "HUP", number: SIGHUP),
    ]

    /// Starts mpirun with the given arguments.
    init(arguments: [String], environment: [String: String], directory: String, log: String) {
        adopted = false
        Task { [self] in
            let end = await Self.run(arguments, environment, directory, log) { pid in
                self.state.withLock { $0.pid = pid }
            }
            state.withLock { $0.end = end }
        }
    }

    /// A launch that had come to its end before it began.
    init(impossible obstacle: LaunchObstacle) {
        adopted = false
        state.withLock { $0.end = .impossible(obstacle) }
    }

    /// Watches an mpirun that an earlier coordinator started.
    init(adopting pid: Int32) {
        adopted = true
        state.withLock { $0.pid = pid }
    }

    private static func run(
        _ arguments: [String], _ environment: [String: String], _ directory: String, _ log: String,
        onStart: @escaping @Sendable (Int32) -> Void
    ) async -> End {
        var options = PlatformOptions()
        options.createSession = true
        let descriptor: FileDescriptor
        do {
            descriptor = try FileDescriptor.open(
                FilePath(log), .writeOnly, options: [.create, .append, .closeOnExec], permissions: .ownerReadWrite)
        } catch {
            return .impossible(LaunchObstacle("cannot be written", log, error))
        }
        defer { try? descriptor.close() }
        do {
            let changes = environment.map { (Environment.Key(rawValue: $0.key), Optional($0.value)) }
            let block = "--block-signal=" + blockedSignals.map(\.name).joined(separator: ",")
            try Descriptors.require()
            let result = try await Subprocess.run(
                .name("env"), arguments: Arguments([block, "mpirun"] + arguments),
                environment: .inherit.updating(
                    Dictionary(uniqueKeysWithValues: changes.compactMap { key, value in key.map { ($0, value) } })),
                workingDirectory: FilePath(directory), platformOptions: options, input: .none,
                output: .fileDescriptor(descriptor, closeAfterSpawningProcess: false),
                error: .fileDescriptor(descriptor, closeAfterSpawningProcess: false)
            ) { execution in
                onStart(execution.processIdentifier.value)
            }
            return switch result.terminationStatus {
            case .exited(127):
                .impossible(
                    LaunchObstacle(
                        record: FailureRecord(.wrongUse), reason: "there is no mpirun on the PATH; install openmpi-bin")
                )
            case .exited(let code): .exited(code)
            case .signaled(let number): .signaled(number)
            }
        } catch {
            return .impossible(LaunchObstacle("cannot be started", "mpirun", error))
        }
    }
}
