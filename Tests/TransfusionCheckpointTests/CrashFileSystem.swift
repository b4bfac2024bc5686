import Glibc
import Synchronization
import TransfusionCheckpoint

/// Files in memory that know what a loss of power would leave of them, and that fail or stop at a chosen operation.
///
/// The model is that of ALICE: the contents of a file are safe after its `synchronize`, the names in a directory after
/// the directory's; before, any part of them may or may not be there. Each change of a name is atomic.
///
/// ### References
/// Pillai et al. 2014, "All File Systems Are Not Created Equal" (OSDI).
final class CrashFileSystem: FileSystem {
    /// What goes wrong at one operation.
    enum Fault: Equatable {
        /// The operation fails, later ones work.
        case error(Int32)
        /// Every operation from here on that needs space fails.
        case full
        /// The process is gone: nothing happens from here on.
        case stop
        /// A write takes a part of its bytes.
        case shortWrite
    }

    /// What a loss of power leaves of changes that were not made safe.
    enum Loss: Sendable, Hashable {
        case everything
        case contents
        case names
        case nothing
        /// Any part of either.
        case some(UInt64)
    }

    private let state: Mutex<State>

    init() {
        state = Mutex(State())
    }

    private init(_ state: consuming State) {
        self.state = Mutex(state)
    }

    /// How many operations there were.
    var operations: Int { state.withLock { $0.operations } }

    /// Chooses the operation that goes wrong, counted from now.
    func arm(_ fault: Fault?, at operation: Int) {
        state.withLock {
            $0.operations = 0
            $0.fault = fault
            $0.faultOperation = operation
        }
    }

    /// The files as they are found after the machine came back.
    func afterPowerLoss(_ loss: Loss) -> CrashFileSystem {
        CrashFileSystem(state.withLock { $0.afterPowerLoss(loss) })
    }

    func createDirectory(_ path: String) throws(FileSystemError) {
        try perform("create the directory", path, needsSpace: true) { state throws(FileSystemError) in
            let (parent, name) = try state.parent(of: path)
            guard state.directories[parent]?.entries[name] == nil else { throw FileSystemError("create", path, EEXIST) }
            let node = state.newNode()
            state.directories[node] = Directory()
            state.change(parent, .link(name, node))
        }
    }

    func list(_ directory: String) throws(FileSystemError) -> [String] {
        try perform("list", directory) { state throws(FileSystemError) in
            guard let entries = state.directories[try state.node(directory)]?.entries else {
                throw FileSystemError("list", directory, ENOTDIR)
            }
            return entries.keys.sorted()
        }
    }

    func create(_ path: String) throws(FileSystemError) -> any WritableFile {
        let node = try perform("create", path, needsSpace: true) { state throws(FileSystemError) in
            let (parent, name) = try state.parent(of: path)
            guard state.directories[parent]?.entries[name] == nil else { throw FileSystemError("create", path, EEXIST) }
            let node = state.newNode()
            state.files[node] = File()
            state.change(parent, .link(name, node))
            return node
        }
        return Writer(system: self, node: node, path: path)
    }

    func open(_ path: String) throws(FileSystemError) -> any ReadableFile {
        try perform("open", path) { state throws(FileSystemError) in
            guard let file = state.files[try state.node(path)] else { throw FileSystemError("open", path, EISDIR) }
            return Reader(system: self, path: path, contents: file.contents)
        }
    }

    func rename(_ path: String, to newPath: String) throws(FileSystemError) {
        try perform("rename", path) { state throws(FileSystemError) in
            let (parent, name) = try state.parent(of: path)
            let (newParent, newName) = try state.parent(of: newPath)
            precondition(parent == newParent, "only renames inside a directory are modelled")
            guard state.directories[parent]?.entries[name] != nil else { throw FileSystemError("rename", path, ENOENT) }
            if let target = state.directories[parent]?.entries[newName], let old = state.directories[target],
                !old.entries.isEmpty
            {
                throw FileSystemError("rename", path, ENOTEMPTY)
            }
            state.change(parent, .rename(name, newName))
        }
    }

    func removeFile(_ path: String) throws(FileSystemError) {
        try perform("remove", path) { state throws(FileSystemError) in
            let (parent, name) = try state.parent(of: path)
            guard state.files[try state.node(path)] != nil else { throw FileSystemError("remove", path, EISDIR) }
            state.change(parent, .unlink(name))
        }
    }

    func removeDirectory(_ path: String) throws(FileSystemError) {
        try perform("remove", path) { state throws(FileSystemError) in
            let (parent, name) = try state.parent(of: path)
            guard let directory = state.directories[try state.node(path)] else {
                throw FileSystemError("remove", path, ENOTDIR)
            }
            guard directory.entries.isEmpty else { throw FileSystemError("remove", path, ENOTEMPTY) }
            state.change(parent, .unlink(name))
        }
    }

    func synchronize(directory: String) throws(FileSystemError) {
        try perform("flush", directory) { state throws(FileSystemError) in
            let node = try state.node(directory)
            guard let entries = state.directories[node]?.entries else {
                throw FileSystemError("flush", directory, ENOTDIR)
            }
            state.directories[node] = Directory(entries: entries, safe: entries)
        }
    }

    /// Counts an operation, and lets the chosen one go wrong.
    private func perform<Value>(
        _ operation: String, _ path: String, needsSpace: Bool = false,
        _ body: (inout State) throws(FileSystemError) -> Value
    ) throws(FileSystemError) -> Value {
        let result = state.withLock { state -> Result<Value, FileSystemError> in
            do throws(FileSystemError) {
                try state.count(operation, path, needsSpace: needsSpace)
                return .success(try body(&state))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private final class Writer: WritableFile {
        let system: CrashFileSystem
        let node: Int
        let path: String

        init(system: CrashFileSystem, node: Int, path: String) {
            self.system = system
            self.node = node
            self.path = path
        }

        func append(_ bytes: UnsafeRawBufferPointer) throws(FileSystemError) -> Int {
            let bytes = Array(bytes)
            return try system.perform("write", path, needsSpace: true) { [node] state throws(FileSystemError) in
                let count = state.takesShort ? max(1, bytes.count / 2) : bytes.count
                state.files[node]?.contents += bytes[..<count]
                return count
            }
        }

        func synchronize() throws(FileSystemError) {
            try system.perform("flush", path, needsSpace: true) { [node] state throws(FileSystemError) in
                guard let contents = state.files[node]?.contents else { return }
                state.files[node] = File(contents: contents, safe: contents)
            }
        }

        func close() throws(FileSystemError) {
            try system.perform("close", path) { _ in }
        }
    }

    private final class Reader: ReadableFile {
        let system: CrashFileSystem
        let path: String
        let contents: [UInt8]
        var byteCount: Int { contents.count }

        init(system: CrashFileSystem, path: String, contents: [UInt8]) {
            self.system = system
            self.path = path
            self.contents = contents
        }

        func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileSystemError) -> Int {
            try system.perform("read", path) { _ in }
            let part = contents.dropFirst(offset).prefix(bytes.count)
            bytes.copyBytes(from: part)
            return part.count
        }
    }
}

private struct File: Sendable {
    var contents: [UInt8] = []
    var safe: [UInt8] = []
}

private struct Directory: Sendable {
    enum Change: Sendable {
        case link(String, Int)
        case unlink(String)
        case rename(String, String)
    }

    var entries: [String: Int] = [:]
    var safe: [String: Int] = [:]
    var pending: [Change] = []
}

extension [String: Int] {
    fileprivate mutating func apply(_ change: Directory.Change) {
        switch change {
        case .link(let name, let node): self[name] = node
        case .unlink(let name): self[name] = nil
        case .rename(let old, let new):
            if let node = removeValue(forKey: old) { self[new] = node }
        }
    }
}

private struct State: Sendable {
    var files: [Int: File] = [:]
    var directories: [Int: Directory] = [0: Directory()]
    var nodes = 1
    var operations = 0
    var fault: CrashFileSystem.Fault?
    var faultOperation = 0

    /// Whether the write that is being counted is the one that is cut short.
    var takesShort: Bool { fault == .shortWrite && operations == faultOperation + 1 }

    mutating func newNode() -> Int {
        defer { nodes += 1 }
        return nodes
    }

    mutating func count(_ operation: String, _ path: String, needsSpace: Bool) throws(FileSystemError) {
        let index = operations
        operations += 1
        switch fault {
        case .error(let code) where index == faultOperation: throw FileSystemError(operation, path, code)
        case .full where index >= faultOperation && needsSpace: throw FileSystemError(operation, path, ENOSPC)
        case .stop where index >= faultOperation: throw FileSystemError(operation, path, EOWNERDEAD)
        default: return
        }
    }

    func node(_ path: String) throws(FileSystemError) -> Int {
        var node = 0
        for name in path.split(separator: "/") {
            guard let next = directories[node]?.entries[String(name)] else {
                throw FileSystemError("find", path, ENOENT)
            }
            node = next
        }
        return node
    }

    func parent(of path: String) throws(FileSystemError) -> (Int, String) {
        var names = path.split(separator: "/").map(String.init)
        let name = names.removeLast()
        let parent = try node(names.joined(separator: "/"))
        guard directories[parent] != nil else { throw FileSystemError("find", path, ENOTDIR) }
        return (parent, name)
    }

    mutating func change(_ directory: Int, _ change: Directory.Change) {
        directories[directory]?.entries.apply(change)
        directories[directory]?.pending.append(change)
    }

    func afterPowerLoss(_ loss: CrashFileSystem.Loss) -> State {
        var state = self
        state.fault = nil
        var seed: UInt64 = 0
        if case .some(let value) = loss { seed = value }
        var generator = SplitMix(seed: seed)
        for node in files.keys.sorted() {
            guard let file = files[node] else { continue }
            let contents =
                switch loss {
                case .everything, .contents: file.safe
                case .nothing, .names: file.contents
                case .some:
                    Array(file.contents.prefix(.random(in: file.safe.count...file.contents.count, using: &generator)))
                }
            state.files[node] = File(contents: contents, safe: contents)
        }
        for node in directories.keys.sorted() {
            guard let directory = directories[node] else { continue }
            var entries = directory.safe
            for change in directory.pending {
                switch loss {
                case .everything, .names: break
                case .nothing, .contents: entries.apply(change)
                case .some: if Bool.random(using: &generator) { entries.apply(change) }
                }
            }
            state.directories[node] = Directory(entries: entries, safe: entries)
        }
        return state
    }
}
