internal import Foundation
internal import Synchronization
internal import TransfusionSupport

/// The right of one job to a run directory, for as long as the job lives, and a watch over whether the directory is still
/// the one that it was.
///
/// There are two locks. Whoever brings a job into the directory holds the first: a coordinator, or a worker that none has
/// started. Rank 0 of the job holds the second while it trains. So the ranks of a coordinator train beside it, and ranks that
/// went on when theirs was killed keep all others out.
public final class RunClaim: Sendable {
    /// What the holder of a lock writes into its file.
    public struct Holder: Codable, Sendable, Equatable {
        public enum Role: String, Codable, Sendable {
            case coordinator
            case worker
        }

        public let role: Role
        /// Of a coordinator, the identity of its run; of a worker, the launch that it belongs to, or a name of its own.
        public let id: String
        public let process: Int32
        public let host: String

        /// What a lock's file says. Whether the lock is still held is another question.
        public init?(_ file: String) {
            guard let text = FileManager.default.contents(atPath: file),
                let holder = try? JSONDecoder().decode(Holder.self, from: text)
            else { return nil }
            self = holder
        }

        init(_ role: Role, _ id: String) {
            self.role = role
            self.id = id
            process = getpid()
            host = ProcessInfo.processInfo.hostName
        }

        /// Whether this is the coordinator that started a launch.
        func started(_ launch: String?) -> Bool { role == .coordinator && launch?.hasPrefix(id + ".") == true }

        /// Whether this is a rank of another launch of the same run.
        func isSibling(of launch: String?) -> Bool {
            guard let run = launch?.prefix(while: { $0 != "." }), !run.isEmpty else { return false }
            return role == .worker && id.hasPrefix(run + ".")
        }
    }

    private struct State {
        /// Keeps the number of the directory from being given to another.
        var pin: Int32 = -1
        var locks: [FileLock] = []
        var place: FileIdentity?
        /// Lock files that must stay as they are: which file, and what it says.
        var marks: [(path: String, file: FileIdentity, holder: Holder)] = []
        var hasConfiguration = false
        /// Names the job.
        var id: String?
        var loss: String?
        var warning: String?
    }

    public let directory: RunDirectory
    private let state = Mutex(State())

    public init(_ directory: RunDirectory) {
        self.directory = directory
    }

    deinit {
        release()
    }

    // MARK: Taking it

    /// Makes this process the coordinator of the run.
    /// - Throws: `CommandFailure` when another process has the directory.
    public func coordinate() throws {
        try state.withLock { state in
            try pin(&state)
            if let lock = try lock(directory.supervisionLock, &state.warning) { state.locks = [lock] }
        }
    }

    /// Tells the ranks that the coordinator starts whom they belong to.
    /// - Parameter identity: That of the run, with which the names of its launches begin.
    /// - Throws: `CommandFailure` when ranks train here that no coordinator of this run has started.
    public func announce(_ identity: String) throws {
        if FileLock.isTaken(directory.trainingLock) {
            let trainer = Holder(directory.trainingLock)
            guard trainer?.id.hasPrefix(identity + ".") == true else { throw refusal(trainer) }
        }
        try state.withLock { try mark(&$0, Holder(.coordinator, identity)) }
    }

    /// Makes this process, rank 0 of its job, the one that trains here. The directory is made when there is none.
    /// - Parameter launch: The launch of a coordinator that the process belongs to, if it does to one.
    /// - Throws: `CommandFailure` when another job has the directory.
    public func train(launch: String?) throws {
        try state.withLock { state in
            guard state.place == nil else { return }
            do throws(FileFailure) {
                try Directories.make(directory.path)
            } catch {
                throw RunDirectoryError.unusable(error)
            }
            try pin(&state)
            let isLaunched = Holder(directory.supervisionLock)?.started(launch) == true
            let paths = (isLaunched ? [] : [directory.supervisionLock]) + [directory.trainingLock]
            for path in paths {
                if let lock = try lock(path, &state.warning, launch: isLaunched ? launch : nil) {
                    state.locks.append(lock)
                }
            }
            try mark(&state, Holder(.worker, isLaunched ? launch ?? "" : UUID().uuidString))
        }
    }

    /// Watches the directory for a rank other than 0, once rank 0 has it.
    public func join() throws {
        try state.withLock { state in
            guard state.place == nil else { return }
            try pin(&state)
            let path = directory.trainingLock
            if let file = try FileIdentity(at: path), let holder = Holder(path) {
                state.marks = [(path, file, holder)]
            }
        }
    }

    /// Gives the directory to whoever wants it next.
    public func release() {
        state.withLock { state in
            for lock in state.locks { lock.release() }
            if state.pin >= 0 { close(state.pin) }
            state = State(loss: state.loss)
        }
    }

    /// What a person should know: that the file system has no locks.
    public var warning: String? { state.withLock(\.warning) }

    private func pin(_ state: inout State) throws {
        let descriptor = open(directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileFailure("open", directory.path) }
        state.pin = descriptor
        state.place = try FileIdentity(at: directory.path)
    }

    /// A coordinator launches only when nothing is left of the launch before; but on a network file system a host that was
    /// lost keeps its locks for a while. Should it come back, it finds another's name in the file.
    /// - Returns: nil where the file system has no locks.
    private func lock(_ path: String, _ warning: inout String?, launch: String? = nil) throws -> FileLock? {
        do {
            if let lock = try FileLock.take(path) { return lock }
            let holder = Holder(path)
            guard holder?.isSibling(of: launch) == true else { throw refusal(holder) }
            return try FileLock.withoutHolding(path)
        } catch let failure as FileFailure {
            guard FileManager.default.isWritableFile(atPath: path) else { throw failure }
            warning = "\(failure); nothing keeps a second job out of this directory at the same moment"
            return nil
        }
    }

    private func mark(_ state: inout State, _ holder: Holder) throws {
        let note = try JSONEncoder().encode(holder)
        state.id = holder.id
        state.marks = []
        for lock in state.locks {
            try lock.write(note)
            state.marks.append((lock.path, lock.file, holder))
        }
    }

    private func refusal(_ holder: Holder?) -> CommandFailure {
        guard let holder else {
            return CommandFailure(
                "\(directory.path): another process uses this run; stop it, or choose another run directory", .wrongUse)
        }
        let place = holder.host == ProcessInfo.processInfo.hostName ? "" : " on \(holder.host)"
        return CommandFailure(
            holder.role == .coordinator
                ? "\(directory.path): another tf-coord supervises this run, process \(holder.process)\(place); see "
                    + "'tf-coord status \(directory.path)'"
                : "\(directory.path): process \(holder.process)\(place) trains this run already; stop it, or choose another "
                    + "run directory", .wrongUse)
    }

    // MARK: Watching it

    /// Whether this process has the directory and has not noticed a loss; nothing is looked at.
    public var isHeld: Bool { state.withLock { $0.place != nil && $0.loss == nil } }

    /// Whether the path of the run leads to where it led; a look that costs next to nothing.
    public var isInPlace: Bool {
        state.withLock { state in
            guard state.loss == nil, let place = state.place else { return false }
            do {
                return try FileIdentity(at: directory.path) == place
            } catch {
                return true
            }
        }
    }

    /// Why the directory is not the run's any more; nil as long as it is, or as that cannot be seen. Once lost, it stays so.
    public func findLoss() -> String? {
        state.withLock { state in
            if state.loss == nil { state.loss = try? look(&state) }
            return state.loss
        }
    }

    /// - Throws: `FileFailure` when it cannot be seen.
    private func look(_ state: inout State) throws -> String? {
        guard let place = state.place else { return nil }
        guard let now = try FileIdentity(at: directory.path) else { return "the directory was removed or renamed" }
        guard now == place else { return "another directory is in its place" }
        for mark in state.marks {
            guard let file = try FileIdentity(at: mark.path) else { return "\(Paths.name(of: mark.path)) was removed" }
            let holder = file == mark.file ? Holder(mark.path) ?? mark.holder : Holder(mark.path)
            guard file == mark.file, holder == mark.holder else {
                return "another job has taken it" + (holder.map { ", process \($0.process) on \($0.host)" } ?? "")
            }
        }
        if try FileIdentity(at: directory.configuration) != nil {
            state.hasConfiguration = true
        } else if state.hasConfiguration {
            return "run.yaml was removed"
        }
        return nil
    }

    /// Where a job that has lost its directory keeps its state: beside it, under a name of the job.
    public var refuge: RunDirectory? {
        state.withLock(\.id).map {
            RunDirectory("\(Paths.withoutTrailingSlash(directory.path)).lost-\($0.prefix(8))")
        }
    }
}
