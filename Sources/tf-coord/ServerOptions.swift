import ArgumentParser
import TransfusionConfig
import TransfusionCoordinator

/// Where the coordinator listens.
struct ServerOptions: ParsableArguments {
    @Option(help: "Address and port to listen on, as in 127.0.0.1:7700; a free port of 127.0.0.1 by default.")
    var listen: String?

    @Option(help: ArgumentHelp("Certificate for listening beyond this host, in PEM.", valueName: "file"))
    var tlsCertificate: String?

    @Option(help: ArgumentHelp("The certificate's private key, in PEM.", valueName: "file"))
    var tlsKey: String?

    var settings: CoordinatorServer.Settings {
        get throws {
            var settings = CoordinatorServer.Settings()
            settings.certificate = tlsCertificate
            settings.privateKey = tlsKey
            guard let listen else { return settings }
            guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]),
                (0...65535).contains(port)
            else {
                throw CommandFailure("--listen \(listen): must be ADDRESS:PORT, as in 127.0.0.1:7700", .wrongUse)
            }
            let address = listen[..<colon]
            let isBracketed = address.hasPrefix("[") && address.hasSuffix("]")
            guard isBracketed || !address.contains(":") else {
                throw CommandFailure(
                    "--listen \(listen): an address with colons must be in brackets, as in [::1]:7700", .wrongUse)
            }
            settings.host = String(isBracketed ? address.dropFirst().dropLast() : address)
            settings.port = port
            return settings
        }
    }
}
