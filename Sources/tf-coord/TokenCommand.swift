import ArgumentParser
import TransfusionConfig
import TransfusionCoordinator

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Makes a token that may look at all runs of the daemon, for Prometheus as an example.",
        discussion: """
            Needs a daemon, 'tf-coord serve'. The token is shown once; the daemon keeps
            only its digest.

            EXAMPLES
              tf-coord token prometheus > transfusion.token
              tf-coord token prometheus --revoke
            """)

    @Argument(help: "What the token is for; it is revoked by this name.")
    var name: String

    @Flag(help: "Take back all tokens of this name; 'dashboard' are those of links.")
    var revoke = false

    @OptionGroup var place: RunRoot

    func run() throws {
        guard let daemon = place.locator.daemon else {
            throw CommandFailure(
                "no daemon serves the runs below \(place.root ?? RunLocator.root), and only a daemon keeps tokens; start one "
                    + "with 'tf-coord serve', or open the link of 'tf-coord dashboard' for a run of 'tf-coord run'")
        }
        let client = CoordinatorClient(daemon)
        let name = name
        if revoke {
            try waitFor { try await client.revokeTokens(name) }
        } else {
            print(try waitFor { try await client.issueToken(name) })
        }
    }
}
