import ArgumentParser
import TransfusionConfig
import TransfusionCoordinator

/// Where the coordinator listens.
struct ServerOptions: ParsableArguments {
    @Option(help: "Address and port of this host to listen on, as in 127.0.0.1:7700; a free port by default.")
    var listen: String?

    var settings: CoordinatorServer.Settings {
        get throws {
            var settings = CoordinatorServer.Settings()
            guard let listen else { return settings }
            guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]),
                (0...65535).contains(port)
            else {
                throw CommandFailure("--listen \(listen): must be ADDRESS:PORT, as in 127.0.0.1:7700", .wrongUse)
            }
            settings.host = String(listen[..<colon].trimmingPrefix("[").prefix { $0 != "]" })
            settings.port = port
            return settings
        }
    }
}
