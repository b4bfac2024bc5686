import Foundation
import NIOEmbedded
import Testing
import TransfusionConfig
import TransfusionHTTP
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

/// What the server refuses, and that it goes on after it.
@Suite struct CoordinatorServerTests {
    private let runs: ExampleRuns

    init() throws {
        runs = try ExampleRuns()
    }

    private static let reads = [
        "/v1/runs", "/v1/runs/demo", "/v1/runs/demo/metrics", "/v1/runs/demo/checkpoints", "/v1/runs/demo/samples",
        "/v1/runs/demo/samples/10/0", "/v1/runs/demo/logs", "/v1/hosts", "/metrics",
    ]
    private static let changes = [
        "POST /v1/runs", "POST /v1/runs/demo/stop", "POST /v1/runs/demo/resume", "POST /v1/tokens/x",
        "DELETE /v1/tokens/x", "POST /v1/dashboard",
    ]

    @Test func withoutAValidTokenNothingIsSaid() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            var isLimited = false
            for token in [nil, "wrong", "", String(repeating: "a", count: 5000)] {
                for request in Self.reads.map({ "GET \($0)" }) + Self.changes + [
                    "POST /v1/session", "POST /v1/runs/demo/launches/1/heartbeats",
                ] {
                    let parts = request.split(separator: " ").map(String.init)
                    let answer = try RawConnection.request(parts[0], parts[1], port: port, token: token)
                    // Guesses are answered ever more seldom.
                    isLimited = isLimited || answer?.status == 429
                    #expect([401, 429].contains(answer?.status), "\(request) with \(token ?? "no token")")
                    #expect(answer?.body.contains(ExampleRuns.secret) == false)
                }
            }
            #expect(isLimited)
            // Who has a token is not held up by who has none.
            let answer = try RawConnection.request("GET", "/v1/runs", port: port, token: ExampleRuns.control)
            #expect(answer?.status == 200)
        }
        #expect(runs.changes == [])
    }

    @Test func aTokenMayWhatItIsFor() async throws {
        let beat = Heartbeat(
            rank: 0, host: "a", pid: 1, step: 1, phase: .compute, phaseSeconds: 0, time: 0, memoryBytes: 1)
        let json = String(decoding: try beat.json(), as: UTF8.self)
        try await runs.serve { (port: Int) throws -> Void in
            func status(_ request: String, _ token: String, _ body: String = "") throws -> Int? {
                let parts = request.split(separator: " ").map(String.init)
                return try RawConnection.request(parts[0], parts[1], port: port, token: token, body: body)?.status
            }
            for path in Self.reads {
                #expect(try status("GET \(path)", ExampleRuns.viewer) == 200, "\(path)")
                #expect(try status("GET \(path)", ExampleRuns.control) == 200, "\(path)")
                #expect(try status("GET \(path)", ExampleRuns.worker) == 403, "\(path)")
            }
            for change in Self.changes {
                #expect(try status(change, ExampleRuns.viewer) == 403, "\(change)")
                #expect(try status(change, ExampleRuns.worker) == 403, "\(change)")
            }
            let heartbeats = "POST /v1/runs/demo/launches/1/heartbeats"
            #expect(try status(heartbeats, ExampleRuns.worker, json) == 200)
            #expect(try status(heartbeats, ExampleRuns.viewer, json) == 403)
            #expect(try status("POST /v1/runs/other/launches/1/heartbeats", ExampleRuns.worker, json) == 403)
            #expect(try status("POST /v1/runs/demo/stop", ExampleRuns.control) == 202)
        }
        #expect(runs.changes == ["heartbeat", "stop"])
    }

    @Test func aBrowserSignsInWithALinkAndMayOnlyLook() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            let page = try RawConnection.request("GET", "/", port: port)
            #expect(page?.status == 200 && page?.headers["content-type"] == "text/html; charset=utf-8")
            // Neither the token of commands nor that of ranks belongs into a browser.
            for token in [ExampleRuns.control, ExampleRuns.worker] {
                #expect(try RawConnection.request("POST", "/v1/session", port: port, token: token)?.status == 403)
            }
            let session = try RawConnection.request("POST", "/v1/session", port: port, token: ExampleRuns.viewer)
            let cookie = session?.headers["set-cookie"] ?? ""
            #expect(session?.status == 204)
            #expect(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"))
            // It goes to what lies beside /v1/session, wherever a proxy puts that, and nowhere else.
            #expect(!cookie.contains("Domain") && !cookie.contains("Path"))
            let headers = ["Cookie": String(cookie.prefix { $0 != ";" })]
            func status(_ method: String, _ path: String, _ headers: [String: String]) throws -> Int? {
                try RawConnection.request(method, path, port: port, headers: headers)?.status
            }
            #expect(try status("GET", "/v1/runs/demo", headers) == 200)
            #expect(try status("GET", "/metrics", headers) == 200)
            #expect(try status("POST", "/v1/runs/demo/stop", headers) == 403)
            // A token of commands in a cookie is worth nothing: other pages could make a browser send it.
            let stolen = ["Cookie": "tf-coord-viewer-\(port)=\(ExampleRuns.control)"]
            #expect(try status("GET", "/v1/runs/demo", stolen) == 401)
            #expect(try status("POST", "/v1/runs/demo/stop", stolen) == 401)
        }
        #expect(runs.changes == [])
    }

    @Test func everyAnswerForbidsBrowsersToRunWhatItSays() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            for path in Self.reads + [
                "/", "/dashboard.js", "/charts.js", "/dashboard.css", "/nowhere", "/v1/runs/nobody",
            ] {
                let answer = try RawConnection.request("GET", path, port: port, token: ExampleRuns.viewer)
                let policy = answer?.headers["content-security-policy"] ?? ""
                #expect(policy.hasPrefix("default-src 'none'; script-src 'self';"), "\(path)")
                #expect(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "\(path)")
                #expect(answer?.headers["x-content-type-options"] == "nosniff", "\(path)")
                #expect(answer?.headers["referrer-policy"] == "no-referrer", "\(path)")
            }
            // What comes from runs is JSON or text, whatever it holds.
            let logs = try RawConnection.request("GET", "/v1/runs/demo/logs", port: port, token: ExampleRuns.viewer)
            #expect(logs?.headers["content-type"] == "application/json")
            #expect(logs?.body.contains("<script>") == true)
            let metrics = try RawConnection.request("GET", "/metrics", port: port, token: ExampleRuns.viewer)
            #expect(metrics?.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            // The page itself holds no script and no style that the policy would have to allow.
            let page = try RawConnection.request("GET", "/", port: port)?.body ?? ""
            #expect(!page.contains("onload=") && !page.contains("style=") && !page.contains("http"))
        }
    }

    @Test func pathsLeadNowhereElse() async throws {
        try "secret".write(toFile: runs.outside, atomically: true, encoding: .utf8)
        try await runs.serve { (port: Int) throws -> Void in
            for path in [
                "/v1/runs/..%2f..%2fetc", "/v1/runs/../../etc/passwd", "/v1/runs/%2e%2e", "/v1/runs/demo%00",
                "/v1/runs/demo%2flogs", "/v1/runs/demo/samples/10/..%2f..%2f..%2foutside",
                "/v1/runs/demo/samples/..%2f..%2f/0", "/v1/runs/demo/samples/-1/0", "/v1/runs/demo/samples/10/99",
                "/v1/runs/demo/samples/10/9999999999999999999999", "/dashboard.css/../../etc/passwd", "/../index.html",
                "/v1/runs/demo/logs?launch=-1", "/v1/runs/demo/logs?launch=99999999",
            ] {
                let answer = try RawConnection.request("GET", path, port: port, token: ExampleRuns.control)
                #expect([400, 404].contains(answer?.status), "\(path): \(String(describing: answer))")
                #expect(answer?.body.contains("secret") == false && answer?.body.contains("root:") == false, "\(path)")
            }
            let after = try RawConnection.request("GET", "/v1/runs/demo", port: port, token: ExampleRuns.control)
            #expect(after?.status == 200)
        }
    }

    @Test func bodiesAreBoundedAndChecked() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            let beats = "/v1/runs/demo/launches/1/heartbeats"
            for body in [
                "", "{", "[]", "null", "{\"rank\":0}", "{\"rank\":1e99}", String(repeating: "[", count: 10_000),
                "\u{0}\u{1}\u{7f}",
            ] {
                let beat = try RawConnection.request("POST", beats, port: port, token: ExampleRuns.worker, body: body)
                let run = try RawConnection.request(
                    "POST", "/v1/runs", port: port, token: ExampleRuns.control, body: body)
                #expect(beat?.status == 400 && run?.status == 400, "\(body.prefix(20))")
            }
            let large = String(repeating: "x", count: 1 << 20)
            let beat = try RawConnection.request("POST", beats, port: port, token: ExampleRuns.worker, body: large)
            #expect(beat?.status == 413)
            let run = try RawConnection.request("POST", "/v1/runs", port: port, token: ExampleRuns.control, body: large)
            #expect(run?.status == 413)
            // What only says that it is large is not waited for.
            let liar = try RawConnection(port: port)
            liar.send(
                "POST \(beats) HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(ExampleRuns.worker)\r\n"
                    + "Content-Length: 99999999999\r\n\r\n")
            #expect(liar.answer()?.status == 413)
            let after = try RawConnection.request("GET", "/v1/runs/demo", port: port, token: ExampleRuns.control)
            #expect(after?.status == 200)
        }
        #expect(runs.changes == [])
    }

    @Test func whatIsNoHTTPEndsItsConnectionOnly() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            let long = String(repeating: "a", count: 100_000)
            for text in [
                "\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\(long)\r\n\r\n",
                "GET /\(long) HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nx: \(long)\r\n\r\n",
                "POST /v1/runs HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                "POST /v1/runs HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "GET / HTTP/1.1\r\n" + (0..<200).map { "h\($0): 1\r\n" }.joined() + "\r\n",
            ] {
                let connection = try RawConnection(port: port)
                connection.send(text)
                let status = connection.answer()?.status ?? 400
                #expect((400..<500).contains(status), "\(text.prefix(60))")
            }
            let after = try RawConnection.request("GET", "/v1/runs/demo", port: port, token: ExampleRuns.control)
            #expect(after?.status == 200)
        }
    }

    /// NIO ends the process when the server's task is cancelled before it has taken over what was accepted.
    @Test(.timeLimit(.minutes(2))) func theServerEndsWhileClientsConnect() async throws {
        for _ in 0..<5 {
            try await runs.serve { port in
                let burst = try (0..<64).map { _ in try RawConnection(port: port) }
                withExtendedLifetime(burst) {}
            }
        }
    }

    /// Slow clients: those that never say anything, those that send a head or a body byte by byte.
    @Test(.timeLimit(.minutes(3))) func slowConnectionsAreClosedAndHoldUpNobody() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            let silent = try (0..<50).map { _ in try RawConnection(port: port) }
            let heads = try (0..<50).map { _ in
                let connection = try RawConnection(port: port)
                connection.send("GET /v1/runs HTTP/1.1\r\nHost: a\r\n")
                return connection
            }
            let bodies = try (0..<50).map { _ in
                let connection = try RawConnection(port: port)
                connection.send(
                    "POST /v1/runs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(ExampleRuns.control)\r\n"
                        + "Content-Length: 1000\r\n\r\n")
                return connection
            }
            let answer = try RawConnection.request("GET", "/v1/runs", port: port, token: ExampleRuns.control)
            #expect(answer?.status == 200)
            // Dribbling does not keep a connection open.
            let bound = Int(CoordinatorServer.Limits.idleSeconds)
            for second in 0..<bound {
                for connection in heads { connection.send("x-\(second): y\r\n") }
                for connection in bodies { connection.send("x") }
                sleep(1)
            }
            for connection in silent + heads + bodies { #expect(connection.isClosed(within: bound)) }
            let after = try RawConnection.request("GET", "/v1/runs", port: port, token: ExampleRuns.control)
            #expect(after?.status == 200)
        }
    }

    /// Whoever fills the server drives out its own connections, and neither those of others nor those that have a token.
    @Test(.timeLimit(.minutes(2))) func strangersMakeRoomForOthers() async throws {
        let bounds = Connections.Bounds(all: Descriptors.forClients, addresses: 1)
        try await runs.serve { (port: Int) throws -> Void in
            let request =
                "GET /v1/runs/demo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(ExampleRuns.viewer)\r\n\r\n"
            let known = try RawConnection(port: port)
            known.send(request)
            #expect(known.answer()?.status == 200)
            let first = try RawConnection(port: port), other = try RawConnection(port: port, from: "127.0.0.2")
            let others = try (0..<bounds.strangers + 20).map { _ in try RawConnection(port: port) }
            #expect(first.isClosed(within: 5))
            #expect(!other.isClosed(within: 1) && others.last?.isClosed(within: 1) == false)
            known.send(request)
            #expect(known.answer()?.status == 200)
            #expect(try RawConnection.request("GET", "/", port: port)?.status == 200)
        }
    }

    @Test func mostPlacesAreForRanks() {
        let bounds = Connections.Bounds(all: 768, addresses: 2)
        #expect(bounds.programs == 576 && bounds.people == 384 && bounds.strangers == 72 && bounds.passing == 96)
        for addresses in 1...4 {
            for all in 32...5000 {
                let bounds = Connections.Bounds(all: all, addresses: addresses)
                #expect(bounds.programs + addresses * bounds.passing <= all)
                // Something is always left for those that are closed after an answer.
                #expect(bounds.strangers < bounds.passing && bounds.people <= bounds.programs)
            }
        }
    }

    /// Ranks may all ask at one address: they have the places of the others too.
    @Test func connectionsStayOpenAtAnyAddress() throws {
        let bounds = Connections.Bounds(all: 32, addresses: 2), lasting = Connections.Lasting()
        let local = Connections(bounds, lasting: lasting), network = Connections(bounds, lasting: lasting)
        func connect(to address: Connections) -> EmbeddedChannel {
            let channel = EmbeddedChannel()
            address.opened(channel, from: "127.0.0.1")
            address.know(channel, below: bounds.programs)
            return channel
        }
        let channels = (1..<bounds.programs).map { _ in connect(to: local) }
        #expect(channels.count == 23 && channels.allSatisfy { local.mayStay($0) })
        let last = connect(to: network), next = connect(to: local)
        #expect(network.mayStay(last) && !local.mayStay(next))
        _ = try last.finish()
        #expect(local.mayStay(connect(to: local)))
    }

    /// An answer of any kind has a reason in it.
    @Test func aStoreWithoutRoomSaysSo() async throws {
        try await runs.serve { (port: Int) throws -> Void in
            func submit() throws -> RawConnection.Answer? {
                try RawConnection.request(
                    "POST", "/v1/runs", port: port, token: ExampleRuns.control,
                    body: "{\"configuration\": \"\", \"working_directory\": \"/\"}")
            }
            runs.submitFailure = RunStore.Failure("/runs.sqlite", because: "full", isOutOfRoom: true)
            let full = try submit()
            #expect(full?.status == 507 && full?.body.contains("make room on its disk") == true, "\(full?.body ?? "")")
            runs.submitFailure = RunStore.Failure("/runs.sqlite", because: "disk I/O error", isOutOfRoom: false)
            let broken = try submit()
            #expect(broken?.status == 500 && broken?.body.contains("/runs.sqlite: the store of runs cannot") == true)
            runs.submitFailure = CocoaError(.fileNoSuchFile)
            #expect(try submit()?.body.isEmpty == false)
        }
    }

    @Test(arguments: ["127.0.0.2", "::1", "::ffff:127.0.0.1"]) func listensAtEveryAddressOfThisHostAlone(
        _ host: String
    ) async throws {
        var settings = CoordinatorServer.Settings()
        settings.host = host
        #expect(throws: CommandFailure.self) { try CoordinatorServer(runs, settings: settings) }
        settings.port = Int.random(in: 20_000..<30_000)
        let own = settings.port
        #expect(settings.url(localPort: 1) == "http://\(host.contains(":") ? "[\(host)]" : host):\(own)")
        try await runs.serve(settings) { (port: Int) throws -> Void in
            #expect(port != own)
            for (address, port) in [(host, own), ("127.0.0.1", port)] {
                let connection = try RawConnection(port: port, host: address)
                connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(connection.answer()?.status == 200)
            }
        }
    }

    @Test func beyondThisHostOnlyWithTLS() async throws {
        for host in ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.example.org", "::ffff:10.0.0.1", "128.0.0.1"] {
            var settings = CoordinatorServer.Settings()
            settings.host = host
            settings.port = 7700
            let error = #expect(throws: CommandFailure.self) { try CoordinatorServer(runs, settings: settings) }
            #expect(error?.code == .wrongUse && error?.description.hasPrefix("--listen \(host): tokens would") == true)
        }
        var half = CoordinatorServer.Settings()
        half.certificate = "cert.pem"
        #expect(throws: CommandFailure.self) { try CoordinatorServer(runs, settings: half) }
    }

    @Test func speaksTLSWithACertificate() async throws {
        let openssl = try Command.onPath("openssl")
        let directory = try TemporaryDirectory()
        let certificate = directory.file("cert.pem"), key = directory.file("key.pem")
        let made = try openssl.run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate
        )
        try #require(made.status == 0, "\(made.errors)")
        var settings = CoordinatorServer.Settings()
        settings.host = "0.0.0.0"
        settings.port = Int.random(in: 20_000..<30_000)
        settings.certificate = certificate
        settings.privateKey = key
        let tlsPort = settings.port
        try await runs.serve(settings) { (port: Int) throws -> Void in
            #expect(port != tlsPort)
            let request =
                "GET /v1/runs/demo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                + "Authorization: Bearer \(ExampleRuns.viewer)\r\n\r\n"
            let file = directory.file("request")
            try request.write(toFile: file, atomically: true, encoding: .utf8)
            let client = try Command(path: "/bin/sh").run(
                "-c",
                "(cat '\(file)'; sleep 2) | openssl s_client -quiet -verify_return_error -verify_hostname localhost "
                    + "-CAfile '\(certificate)' -connect 127.0.0.1:\(tlsPort)")
            #expect(client.output.hasPrefix("HTTP/1.1 200 OK"), "\(client)")
            #expect(client.output.contains("\"run\":\"demo\""))
            // The same port answers nobody in the clear; ranks and commands of this host use the other.
            let plain = try RawConnection.request("GET", "/", port: tlsPort)
            #expect(plain == nil)
            #expect(try RawConnection.request("GET", "/", port: port)?.status == 200)
        }
    }

    @Test func saysWhenAnAddressIsTaken() async throws {
        let runs = runs
        try await runs.serve { (port: Int) throws -> Void in
            var settings = CoordinatorServer.Settings()
            settings.port = port
            let other = try CoordinatorServer(runs, settings: settings)
            let done = DispatchSemaphore(value: 0)
            let failure = Box<(any Error)?>(nil)
            Task {
                do { try await other.serve { _ in } } catch { failure.value = error }
                done.signal()
            }
            #expect(done.wait(timeout: .now() + 20) == .success)
            #expect(
                (failure.value as? CommandFailure)?.description
                    == "--listen 127.0.0.1:\(port): Address already in use; choose another address or port")
        }
    }
}

/// Passed from one thread to another that waits for it.
private final class Box<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) {
        self.value = value
    }
}
