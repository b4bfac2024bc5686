internal import Foundation
internal import SystemPackage

/// The descriptors of this process: files, pipes, and the connections of its server.
///
/// Whoever supervises a run needs some to look at it, so clients must not get all.
enum Descriptors {
    /// Raises the limit of this process as far as it may and as it makes sense. What it starts inherits that, which harms
    /// nobody: the limit stays far below what makes closing all descriptors slow.
    static func raiseLimit() {
        var limits = rlimit()
        guard getrlimit(Self.resource, &limits) == 0 else { return }
        let wanted = min(limits.rlim_max, rlim_t(Self.most))
        guard limits.rlim_cur < wanted else { return }
        limits.rlim_cur = wanted
        _ = setrlimit(Self.resource, &limits)
    }

    /// How many descriptors this process may have.
    static var limit: Int {
        var limits = rlimit()
        guard getrlimit(Self.resource, &limits) == 0 else { return 1024 }
        return Int(min(limits.rlim_cur, rlim_t(Self.most)))
    }

    /// How many of them clients may use. The others are for supervision: processes to look at and to start, files of
    /// runs, and what the libraries open for themselves.
    static var forClients: Int { limit - min(256, limit / 4) }

    /// Why a program cannot be started, or another process looked at, for want of descriptors; nil when it can be.
    static func shortage() -> String? {
        do {
            try require()
            return nil
        } catch {
            return "no descriptor can be opened: \(String(cString: strerror(error.rawValue)))"
        }
    }

    /// Makes sure that a program can be started. swift-subprocess ends this process when it gets only some of the
    /// descriptors that it needs for that.
    static func require() throws(Errno) {
        var opened: [Int32] = []
        defer { for descriptor in opened { close(descriptor) } }
        for _ in 0..<Self.forProgram {
            let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw Errno(rawValue: errno) }
            opened.append(descriptor)
        }
    }

    /// Three pipes of two ends, their copies, and what else it takes to start one.
    private static let forProgram = 24
    private static let most = 8192
    private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
}
