import Foundation
import Testing
import _TestUtilities

@testable import TransfusionSupport

@Suite struct PrivateSocketTests {
    private let temporary: TemporaryDirectory

    init() throws {
        temporary = try TemporaryDirectory()
    }

    /// Listens at an address of a socket.
    private func listen(_ address: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: address.utf8) }
        let isBound = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isBound, Foundation.listen(descriptor, 4) == 0 else { return -1 }
        return descriptor
    }

    @Test func thePathOfTheDirectoryMayBeLong() throws {
        let path = temporary.file(String(repeating: "a", count: 120) + "/" + String(repeating: "b", count: 120))
        try PrivateDirectory(path).make()
        let server = try PrivateSocket(path + "/socket"), client = try PrivateSocket(path + "/socket")
        #expect(client.connect(patience: 1) == nil)
        let listener = listen(server.address)
        #expect(listener >= 0 && FileManager.default.fileExists(atPath: path + "/socket"))
        let connection = try #require(client.connect(patience: 1))
        close(connection)
        // The socket of a process that is gone.
        close(listener)
        #expect(client.connect(patience: 1) == nil)
        server.remove()
        #expect(!FileManager.default.fileExists(atPath: path + "/socket"))
    }

    @Test func aDirectoryThatOthersCanUseIsRefused() throws {
        let path = temporary.file("open")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        chmod(path, 0o755)
        #expect { _ = try PrivateSocket(path + "/socket") } throws: { "\($0)".contains("is open to other users") }
        #expect(throws: FileFailure.self) { _ = try PrivateSocket(temporary.file("nowhere/socket")) }
    }
}
