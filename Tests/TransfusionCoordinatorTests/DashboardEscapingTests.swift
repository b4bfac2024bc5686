import Foundation
import Testing
import _TestUtilities

@testable import TransfusionCoordinator

/// A browser shows what a server says of a run in which strangers have had a hand.
@Suite(.enabled(if: Browser.obstacle == nil, Browser.obstacle), .timeLimit(.minutes(3)))
struct DashboardEscapingTests {
    @Test func whatRunsSayIsTextOnThePage() async throws {
        try await ExampleRuns().serve { (port: Int) throws -> Void in
            let browser = try Browser()
            try browser.open("http://127.0.0.1:\(port)/#token=\(ExampleRuns.viewer)")
            try browser.wait("!document.getElementById('run').hidden")
            _ = try browser.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true })")
            try browser.wait("document.getElementById('log').textContent.includes('<script>')")
            try browser.wait("document.querySelectorAll('#samples th.prompt').length === 1")
            for place in ["#verdict", "#ranks .phase", "#recoveries", "#recoveries pre", "#samples", "#log"] {
                #expect(try browser.text(place).contains(ExampleRuns.script), "\(place)")
            }
            #expect(try browser.evaluate("window.\(ExampleRuns.secret) === undefined") as? Bool == true)
            #expect(try browser.number("document.querySelectorAll('main script, main [onerror]').length") == 0)
            #expect(browser.complaints == [])
        }
    }
}
