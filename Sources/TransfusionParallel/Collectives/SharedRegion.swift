internal import CKernels
internal import Glibc
internal import TransfusionCore

/// Memory that several ranks of one host map, at whatever address each gets.
///
/// It has no name in any file system and vanishes with the last process that maps it, however that process ends.
///
/// `@unchecked Sendable`: the address never changes; what lies there is guarded by the rounds of
/// `SharedMemoryCollectives`.
final class SharedRegion: @unchecked Sendable {
    static let pageSize = 4096

    let address: UnsafeMutableRawPointer
    let byteCount: Int

    private init(address: UnsafeMutableRawPointer, byteCount: Int) {
        self.address = address
        self.byteCount = byteCount
    }

    deinit {
        munmap(address, byteCount)
    }

    /// A new region of zeros, mapped here.
    convenience init(byteCount: Int) throws(SystemError) {
        let file = try Self.createFile(byteCount: byteCount)
        defer { close(file) }
        try self.init(file: file, byteCount: byteCount)
    }

    /// One region for the ranks of `group` that name the same `leader`, which makes it. All ranks of `group` call this;
    /// if any fails, all throw.
    static func make(byteCount: Int, leader: Int, through group: some PieceCollectives) throws -> SharedRegion {
        let site: StaticString = "shared memory"
        var file: Int32 = -1
        var problem: SystemError?
        do throws(SystemError) {
            if group.rank == leader { file = try createFile(byteCount: byteCount) }
        } catch {
            problem = error
        }
        defer { if file >= 0 { close(file) } }

        let offers = try group.gatherNumbers([Int(getpid()), Int(file)], site: site)
        let (process, number) = (offers[leader][0], offers[leader][1])
        var region: SharedRegion?
        do throws(SystemError) {
            if number >= 0 { region = try open(process: process, number: number, byteCount: byteCount) }
        } catch {
            problem = error
        }
        // Everybody has opened it, or says that it failed, before the leader closes its file.
        let failures = try group.gatherNumbers([region == nil ? 1 : 0], site: site)
        guard let region, failures.allSatisfy({ $0 == [0] }) else {
            let other = failures.firstIndex(of: [1]) ?? leader
            throw group.failure(
                .system(problem?.description ?? "rank \(other) could not map \(byteCount) bytes of shared memory"),
                site: site)
        }
        return region
    }

    private static func open(process: Int, number: Int, byteCount: Int) throws(SystemError) -> SharedRegion {
        let path = "/proc/\(process)/fd/\(number)"
        let file = Glibc.open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else { throw SystemError("cannot open the shared memory of process \(process)") }
        defer { close(file) }
        return try SharedRegion(file: file, byteCount: byteCount)
    }

    private static func createFile(byteCount: Int) throws(SystemError) -> Int32 {
        let file = tf_memory_file()
        guard file >= 0 else { throw SystemError("cannot create shared memory") }
        // Reserving the pages now turns a lack of memory into an error here instead of a signal later.
        let status = posix_fallocate(file, 0, byteCount)
        guard status == 0 else {
            close(file)
            throw SystemError("cannot reserve \(byteCount) bytes of shared memory", status)
        }
        return file
    }

    private convenience init(file: Int32, byteCount: Int) throws(SystemError) {
        let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
        guard let memory, memory != MAP_FAILED else {
            throw SystemError("cannot map \(byteCount) bytes of shared memory")
        }
        self.init(address: memory, byteCount: byteCount)
    }
}

/// What the operating system said.
struct SystemError: Error, CustomStringConvertible {
    let description: String

    init(_ what: String, _ code: Int32 = errno) {
        description = "\(what): \(String(cString: strerror(code)))"
    }
}
