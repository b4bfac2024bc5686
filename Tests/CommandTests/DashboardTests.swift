import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// The dashboard as a browser shows it, of a run that goes on.
@Suite(.serialized, .oneSuiteAtATime, .enabled(if: Browser.obstacle == nil, Browser.obstacle), .timeLimit(.minutes(20)))
struct DashboardTests {
    /// A run goes on until the test ends it, on a machine of any speed.
    private static let endless = ["--set", "schedule.steps=10000000"]

    @Test func aLiveRunMovesOnThePage() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun(
            "live", in: temporary, dataset: dataset,
            adding: "samples: {every_steps: 500, prompts: [red circle, blue circle], diffusion_steps: 8}")
        try run.start(Self.endless)
        _ = try run.wait("ten steps") { $0.step >= 10 && $0.losses != nil }
        let link = try Command("tf-coord").run("dashboard", run.directory)
        try #require(link.status == 0, "\(link.errors)")

        let browser = try Browser()
        try browser.resize(width: 1100, height: 800, isDark: false)
        try browser.open(link.output.trimmingCharacters(in: .whitespacesAndNewlines))
        try browser.wait("!document.getElementById('run').hidden")
        // The token has left the address, and scripts cannot read it.
        #expect(try browser.evaluate("location.hash") as? String == "")
        #expect(try browser.evaluate("document.cookie") as? String == "")

        try browser.wait("document.querySelectorAll('#ranks tbody tr').length === 2")
        try browser.wait("document.querySelectorAll('.chart path.line').length >= 6")
        let rows = "[...document.querySelectorAll('#ranks tbody tr')].map((row) => row.cells[3].textContent).join()"
        let lines = "[...document.querySelectorAll('.chart path.line')].map((path) => path.getAttribute('d')).join()"
        let words = "document.getElementById('progress').textContent"
        let step = "Number(\(words).match(/step ([0-9,]+)/)[1].replaceAll(',', ''))"
        let before = (
            rows: try browser.evaluate(rows) as? String ?? "", lines: try browser.evaluate(lines) as? String ?? "",
            step: try browser.number(step)
        )
        #expect(before.step >= 10)
        try browser.wait("\(rows) !== '\(before.rows)'")
        try browser.wait("\(lines) !== '\(before.lines)'")
        try browser.wait("\(step) > \(before.step)")
        let verdict = try browser.text("#verdict")
        #expect(verdict.contains("All is well"), "\(verdict)")
        #expect(try browser.text("#ranks").contains("OK"))

        // Pictures of the prompts, and a checkpoint, come after some hundred steps.
        try browser.wait("document.querySelectorAll('#samples img').length >= 2", seconds: 120)
        try browser.wait("[...document.querySelectorAll('#samples img')].every((picture) => picture.naturalWidth > 0)")
        #expect(try browser.text("#samples").contains("red circle"))
        try browser.wait("document.getElementById('checkpoints').textContent.includes('step ')")

        // A failure is named, and so is what it cost.
        let victim = try #require(try run.wait("two ranks") { $0.state == .running && $0.ranks.count == 2 }.ranks.last)
        kill(victim.pid, SIGKILL)
        try browser.wait("document.getElementById('recoveries').textContent.includes('rank 1 was ended by SIGKILL')")
        // It may be one step.
        try browser.wait("/ steps? computed again/.test(document.getElementById('recoveries').textContent)")
        try browser.wait("document.getElementById('verdict').textContent.includes('All is well')")
        // The sixth chart is of the MFU, which nobody knows while others use the machine.
        try browser.wait("document.querySelectorAll('.chart line.mark').length >= 5")
        if let place = ProcessInfo.processInfo.environment["TRANSFUSION_SCREENSHOTS"] {
            try takePictures(of: browser, into: place)
        }
        #expect(browser.complaints == [])

        // A page does not pretend that all is well when nobody answers any more.
        try run.stop(now: true)
        _ = try run.finish()
        try browser.wait("document.getElementById('live').textContent.includes('no answer')")
        #expect(try browser.text("#verdict").contains("does not answer"))
    }

    private func takePictures(of browser: Browser, into directory: String) throws {
        for (name, width, height, isDark) in [
            ("dashboard", 1100, 800, false), ("dashboard-dark", 1100, 800, true), ("dashboard-phone", 390, 844, false),
        ] {
            try browser.resize(width: width, height: height, isDark: isDark)
            // Charts are drawn anew for the width.
            try browser.wait(
                "[...document.querySelectorAll('.chart svg')].every((chart) => chart.viewBox.baseVal.width === chart.clientWidth)"
            )
            #expect(try browser.number("document.documentElement.scrollWidth") <= Double(width), "\(name) is too wide")
            try Data(browser.screenshot()).write(to: URL(filePath: "\(directory)/\(name).png"))
        }
    }

    /// As jupyter-server-proxy and Open OnDemand show it.
    @Test func worksBelowAPathOfAProxy() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun(
            "proxied", in: temporary, dataset: dataset,
            adding: "samples: {every_steps: 50, prompts: [red circle], diffusion_steps: 2}")
        try run.start(Self.endless)
        _ = try run.wait("ten steps") { $0.step >= 10 && $0.losses != nil }
        let link = try Command("tf-coord").run("dashboard", run.directory).output
        let address = try #require(URL(string: link.trimmingCharacters(in: .whitespacesAndNewlines)))
        let proxy = try PathProxy(to: try #require(address.port), below: "/user/anna/proxy/7700/")
        defer { proxy.stop() }
        let browser = try Browser()
        let fragment = try #require(address.fragment())
        try browser.open("http://127.0.0.1:\(proxy.port)/user/anna/proxy/7700/#\(fragment)")
        try browser.wait("!document.getElementById('run').hidden")
        try browser.wait("document.querySelectorAll('#ranks tbody tr').length === 2")
        try browser.wait("document.querySelectorAll('.chart path.line').length >= 6")
        try browser.wait("document.querySelectorAll('#samples img').length >= 1", seconds: 120)
        try browser.wait("[...document.querySelectorAll('#samples img')].every((picture) => picture.naturalWidth > 0)")
        #expect(proxy.strays.filter { $0 != "/favicon.ico" } == [])
        #expect(browser.complaints == [])
        try run.stop(now: true)
        _ = try run.finish()
    }

    @Test func whoHasNoLinkSeesNothing() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let run = try SupervisedRun("closed", in: temporary, dataset: dataset)
        try run.start(Self.endless)
        _ = try run.wait("a rank") { !$0.ranks.isEmpty }
        let link = try Command("tf-coord").run("dashboard", run.directory).output
        let browser = try Browser()
        try browser.open(String(link.prefix { $0 != "#" }))
        try browser.wait("!document.getElementById('signin').hidden")
        #expect(try browser.text("body").contains("tf-coord dashboard"))
        #expect(try !browser.text("body").contains("closed"))
        try browser.open(link.trimmingCharacters(in: .whitespacesAndNewlines) + "0")
        try browser.wait("!document.getElementById('signin').hidden && location.hash === ''")
        try run.stop(now: true)
        _ = try run.finish()
    }
}
