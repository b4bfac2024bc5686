import Testing
import TransfusionHTTP

@testable import TransfusionCoordinator

@Suite struct AccessTokensTests {
    @Test func tellsWhoIsWhoUntilATokenIsRevokedOrExpires() {
        var tokens = AccessTokens()
        let control = AccessTokens.generate(), worker = AccessTokens.generate()
        tokens.add(control, for: .control)
        tokens.add(worker, for: .worker(run: "a"))
        let (first, _) = tokens.issueViewer("grafana", lifetime: nil)
        let (second, entry) = tokens.issueViewer("grafana", lifetime: 60)
        #expect(tokens.access(for: control) == .control)
        #expect(tokens.access(for: worker) == .worker(run: "a"))
        #expect(tokens.access(for: first) == .viewer && tokens.access(for: second) == .viewer)
        #expect(tokens.access(for: second, at: (entry.expires ?? 0) + 1) == nil)
        #expect(tokens.access(for: "") == nil && tokens.access(for: control + "0") == nil)
        let revoked = tokens.revoke("grafana")
        #expect(revoked)
        #expect(tokens.access(for: first) == nil && tokens.access(for: second) == nil)
        #expect(tokens.access(for: control) == .control)
        #expect(Set([control, worker, first, second]).count == 4 && control.count == 64)
    }
}
