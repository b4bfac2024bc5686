internal import Foundation

/// A Unix socket in a private directory, to which nobody but this user can connect.
///
/// The ports of a host are everybody's: whoever fills one with connections keeps others waiting there, but not here.
public final class PrivateSocket: Sendable {
    private let directory: Int32
    private let name: String

    /// - Throws: `FileFailure` when the directory is missing, or others can use it.
    public init(_ path: String) throws(FileFailure) {
        name = Paths.name(of: path)
        directory = try PrivateDirectory(Paths.parent(of: path)).open()
    }

    deinit {
        close(directory)
    }

    /// The path to listen at or to connect to while this object lives. It is short however long the directory's path is: the
    /// address of a socket holds at most 107 bytes.
    public var address: String { "/proc/self/fd/\(directory)/\(name)" }

    /// Removes the socket, also one whose process was killed. Only for whoever listens there.
    public func remove() { unlinkat(directory, name, 0) }

    /// - Parameter patience: Seconds that each wait for the connection may take.
    /// - Returns: A connected descriptor; nil when nobody listens there on this host.
    public func connect(patience: Int) -> Int32? {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var time = timeval(tv_sec: patience, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: self.address.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}
