internal import Foundation
internal import Synchronization
internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionSupport

/// Knows the newest checkpoint of a run, and reads each new one once to see whether it is whole.
final class CheckpointWatch: Sendable {
    private struct Known {
        var step: Int
        /// How old it was when it was found, and when that was on the monotonic clock.
        var age: Double
        var found: Double
        var bytes: Int
        var verified: Bool?
    }

    private struct State {
        var newest: Known?
        var isVerifying = false
    }

    private let store: CheckpointStore
    private let state = Mutex(State())

    private let verifies: Bool

    /// - Parameter verifies: Whether new checkpoints are read as a whole.
    init(_ directory: RunDirectory, verifies: Bool = true) {
        self.verifies = verifies
        store = Self.store(of: directory)
    }

    private static func store(of directory: RunDirectory) -> CheckpointStore {
        var options = CheckpointOptions()
        // Verifying must not take processors away from training.
        options.threads = 1
        return CheckpointStore(directory.checkpoints, options: options)
    }

    /// The complete checkpoints of a run, as directories.
    static func directories(of run: RunDirectory) -> Set<FileIdentity> {
        let store = store(of: run)
        return Set(((try? store.steps()) ?? []).compactMap { try? FileIdentity(at: store.path(of: $0)) })
    }

    /// The step of the newest checkpoint that the last `refresh` found.
    var step: Int? { state.withLock { $0.newest?.step } }

    /// The last `refresh`'s newest checkpoint.
    var status: RunStatus.CheckpointStatus? {
        state.withLock { state in
            state.newest.map {
                RunStatus.CheckpointStatus(
                    step: $0.step, ageSeconds: $0.age + MonotonicTime.seconds - $0.found, bytes: $0.bytes,
                    verified: $0.verified)
            }
        }
    }

    /// Waits until the newest checkpoint is verified, if that takes no longer than some seconds.
    func settle(seconds: Double) async {
        let end = MonotonicTime.seconds + seconds
        while MonotonicTime.seconds < end, state.withLock(\.isVerifying) {
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Looks for a newer checkpoint, and begins to verify it.
    func refresh() {
        // A look that fails says nothing.
        guard let steps = try? store.steps() else { return }
        guard let step = steps.last else {
            state.withLock { $0.newest = nil }
            return
        }
        guard state.withLock({ $0.newest?.step != step }), let checkpoint = try? store.open(step: step) else { return }
        let mayVerify = state.withLock { state in
            state.newest = Known(
                step: step, age: max(0, Date().timeIntervalSince1970 - Double(checkpoint.created)),
                found: MonotonicTime.seconds, bytes: checkpoint.storedBytes, verified: nil)
            defer { state.isVerifying = true }
            return !state.isVerifying
        }
        guard verifies, mayVerify else { return }
        Thread.detachNewThread { [self] in verifyNewest(checkpoint) }
    }

    private func verifyNewest(_ checkpoint: Checkpoint) {
        let isWhole = (try? checkpoint.verify()) != nil
        state.withLock { state in
            state.isVerifying = false
            guard state.newest?.step == checkpoint.step else { return }
            guard isWhole || Descriptors.shortage() == nil else {
                // Nothing could be read: it is looked at again.
                state.newest = nil
                return
            }
            // What is gone was pruned, which says nothing about its bytes.
            if isWhole || FileManager.default.fileExists(atPath: checkpoint.path) { state.newest?.verified = isWhole }
        }
    }
}
