internal import Glibc
internal import Synchronization
internal import TransfusionSupport

/// A data set's directory while it is filled: it lies beside its place and is renamed when it is whole.
///
/// Making one checks the place, so it comes before the work. The process holds a lock on the directory, which the kernel gives
/// back however the process ends. A directory without its lock was therefore left by a process that is gone; whoever writes to
/// the same place next removes it.
///
/// One that is made to be gone on with has a name without the process's number. It stays where the process is ended from outside, and
/// the next one that wants it takes it over.
public final class UnfinishedDirectory {
    /// Where the data set will be, without slashes at the end.
    public let place: String
    /// Where it is now.
    let path: String
    private let descriptor: Int32
    /// Whether another process can go on with what is in it.
    private let isContinued: Bool
    /// Whether it stays, finished or not.
    var isKept = false

    /// All of this process, for a signal that ends it.
    private static let all = Mutex<Set<String>>([])

    /// - Throws: `DataError` when there is something at the place already, or nothing can be made there.
    public convenience init(_ place: String) throws(DataError) {
        try self.init(place, isContinued: false)
    }

    /// What a process that was ended left of the same work, or an empty directory.
    /// - Throws: `DataError` also when another process is at work in it.
    convenience init(continuing place: String) throws(DataError) {
        try self.init(place, isContinued: true)
    }

    private init(_ place: String, isContinued: Bool) throws(DataError) {
        self.isContinued = isContinued
        self.place = Paths.withoutTrailingSlash(place)
        guard !["", ".", ".."].contains(Paths.name(of: self.place)) else {
            throw DataError(wrongUse: "--out: \"\(place)\" is no name for a new directory")
        }
        try DatasetWriter.refuseExisting(self.place)
        do throws(FileFailure) {
            try Directories.make(Paths.parent(of: self.place))
        } catch {
            throw DataError(error.description)
        }
        Self.removeLeftovers(of: self.place)
        path = isContinued ? Self.continuedPath(of: self.place) : "\(self.place)\(Self.infix)\(getpid())"
        guard mkdir(path, 0o777) == 0 || isContinued && errno == EEXIST && Files.isDirectory(path) else {
            throw DataError(place, "cannot be made: \(String(cString: strerror(errno))); choose another --out")
        }
        // File systems without locks still work; what is left on them stays.
        let opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let isHeld = opened < 0 || FileLock.lock(opened) != EWOULDBLOCK
        // Before the last property has its value: the other process's files are not this one's to remove.
        guard isHeld || !isContinued else {
            close(opened)
            throw DataError(place, "is being made by another process; wait for it, or give another --out")
        }
        descriptor = opened
        if !isContinued { Self.all.withLock { _ = $0.insert(path) } }
    }

    deinit {
        // Nothing, when it has been renamed.
        if isContinued, !isKept { Self.removeAll(in: path) }
        if !isContinued { Self.remove(path) }
        Self.all.withLock { _ = $0.remove(path) }
        if descriptor >= 0 { close(descriptor) }
    }

    /// Where the data set of a place is that is gone on with.
    static func continuedPath(of place: String) -> String { place + infix + continuedName }

    /// The path of a file in it.
    func file(_ name: String) -> String { path + "/" + name }

    /// Puts the directory in its place.
    func finish() throws(DataError) {
        try DatasetWriter.refuseExisting(place)
        Self.removeTemporaries(in: path)
        try Files.rename(path, to: place)
        // What another process had just begun to write.
        if isContinued { Self.removeTemporaries(in: place) }
    }

    /// Removes what this process has not finished. Called when it is told to end.
    public static func removeAll() {
        for path in all.withLock({ $0 }) { remove(path) }
    }

    private static let infix = ".tmp-"
    private static let continuedName = "import"
    /// What is in the names of files that are no part of the data set.
    static let temporary = ".tmp"
    private static let names = Set(
        PackedDataset.FileName.all + Tokenizer.Form.allCases.map(\.fileName)
            + [PackedDataset.FileName.sheet, PackedDataset.FileName.autoencoder, DatasetManifest.fileName])

    /// Removes the directories beside a place that dead processes were filling.
    private static func removeLeftovers(of place: String) {
        let parent = Paths.parent(of: place)
        let prefix = Paths.name(of: place) + infix
        for (name, kind) in Files.entries(in: parent) where kind == .directory && name.hasPrefix(prefix) {
            let path = parent + "/" + name
            let isOurs = Files.entries(in: path).allSatisfy { names.contains($0.name) }
            guard isOurs, Int32(name.dropFirst(prefix.count)) != nil else { continue }
            let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { remove(path) }
        }
    }

    private static func removeTemporaries(in path: String) {
        for (name, _) in Files.entries(in: path) where name.contains(temporary) { unlink(path + "/" + name) }
    }

    private static func removeAll(in path: String) {
        for (name, kind) in Files.entries(in: path) where kind == .other { unlink(path + "/" + name) }
        rmdir(path)
    }

    private static func remove(_ path: String) {
        for name in names { unlink(path + "/" + name) }
        rmdir(path)
    }
}
