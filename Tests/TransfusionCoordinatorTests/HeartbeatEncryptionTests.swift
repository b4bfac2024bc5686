import Foundation
import Testing
import TransfusionConfig
import TransfusionHTTP
import TransfusionSupport
import _TestUtilities

@testable import TransfusionCoordinator
@testable import TransfusionTelemetry

/// What ranks on other hosts send, to the server that takes it.
@Suite(.timeLimit(.minutes(2))) struct HeartbeatEncryptionTests {
    private let directory: TemporaryDirectory
    private let heartbeat = Heartbeat(
        rank: 0, host: "node", pid: 7, step: 3, phase: .compute, phaseSeconds: 0, time: 0, memoryBytes: 0)

    init() throws { directory = try TemporaryDirectory() }

    /// Serves, and sends a heartbeat with what `change` makes of the right endpoint.
    private func send(_ change: @escaping @Sendable (inout HeartbeatEndpoint) throws -> Void) async throws
        -> HeartbeatAnswer
    {
        var tokens = AccessTokens()
        tokens.add("right", for: .worker(run: "run"))
        let supervisor = try RunSupervisor.example(in: directory)
        let server = try CoordinatorServer(SingleRun(supervisor, tokens: tokens))
        let identity = try TLSIdentity(of: "tf-coord")
        return try await server.serve(ranksAt: (address: "127.0.0.1", identity: identity)) { ports in
            var endpoint = HeartbeatEndpoint(
                host: "127.0.0.1", port: ports.ranks, run: "run", token: "right", certificate: identity.certificate)
            try change(&endpoint)
            let file = directory.file("worker.json")
            try JSONEncoder().encode(endpoint).write(to: URL(filePath: file))
            return try await Self.onItsOwnThread { [heartbeat] in
                try HeartbeatChannel(endpointFile: file, launch: "none").send(heartbeat.json())
            }
        }
    }

    /// As ranks do: the threads of the server are not kept waiting.
    private static func onItsOwnThread<Value: Sendable>(
        _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result(catching: work)) }
        }
    }

    @Test func heartbeatsArriveEncrypted() async throws {
        #expect(try await send { _ in } == HeartbeatAnswer(stop: false))
    }

    @Test func anotherCertificateIsNotTrusted() async throws {
        await #expect { _ = try await send { $0.certificate = try TLSIdentity(of: "tf-coord").certificate } } throws: {
            error in
            "\(error)".contains("certificate is not the one")
        }
    }

    @Test func nothingGoesInTheClear() async throws {
        await #expect(throws: FileFailure.self) { _ = try await send { $0.certificate = nil } }
    }

    @Test func anotherTokenIsRefused() async throws {
        await #expect { _ = try await send { $0.token = "wrong" } } throws: { "\($0)".contains("status 401") }
    }
}
