"""What three industries plan, do and say: the texts that sample data are made of."""

from dataclasses import dataclass
from typing import NamedTuple


class Scene(NamedTuple):
    """One thing that people of an industry do. `{who}` in a text is the contact's name, `{number}` a file number."""

    type: str
    direction: str | None
    subject: str
    notes: str
    first_message: str | None = None


@dataclass(frozen=True)
class Industry:
    """A business of the sample. `domain` is that of its e-mail addresses; `number` how its files are named."""

    key: str
    name: str
    zone: str
    domain: str
    number: str
    location: str
    members: tuple[str, ...]
    roles: tuple[str, ...]
    accounts: tuple[str, ...]
    contacts: tuple[str, ...]
    scenes: tuple[Scene, ...]


INSURANCE = Industry(
    key="insurance",
    name="Prairie Mutual Insurance",
    zone="America/Chicago",
    domain="prairie-mutual.example",
    number="HO-{:06d}",
    location="4120 W Fullerton Ave, Chicago",
    members=("Dana Whitfield", "Marcus Oyelaran", "Priya Raman", "Sofía Herrera", "Tom Kowalczyk", "Grace Liu"),
    roles=("Underwriting", "Claims", "Retention"),
    accounts=("Lakeside Bakery LLC", "Hoffman & Sons Roofing", "Northbridge Dental Group", "Calumet Freight Inc."),
    contacts=("Elena Vásquez", "Robert Jankowski", "عبد الرحمن الخطيب", "Naomi Carter", "李秀英", "Darnell Brooks"),
    scenes=(
        Scene("call", "outbound", "Initial Coverage Consultation", "{who} wants replacement cost for the dwelling and "
              "a water backup endorsement. Current policy {number} lapses at the end of the month."),
        Scene("call", "inbound", "Quote Review Call", "Compared the $1,000 and $2,500 deductible with {who}; asked for "
              "scheduled jewelry to be added to {number}.", "Hi, I have your quote here and two questions."),
        Scene("task", None, "Underwriting Follow-Up", "Roof inspection photos for {number} are missing; four-point "
              "inspection report requested from {who}."),
        Scene("call", "outbound", "Policy Renewal Outreach", "Renewal premium for {number} rises by 6 %. Offered the "
              "auto bundle."),
        Scene("site_visit", None, "Claim inspection", "Hail damage on the south slope, 14 test squares. Mitigation "
              "company is on site. Claim {number}."),
        Scene("sms", "outbound", "Proof of payment reminder", "Reminded {who} that the grace period of {number} ends.",
              "Reminder: your payment is due Friday. Reply STOP to opt out. 🏠"),
        Scene("chat", "inbound", "Certificate of insurance", "Sent an ACORD 25 for {number}, holder added.",
              "¿Me pueden enviar el certificado hoy? El contratista lo necesita 🙏"),
        Scene("whatsapp", "inbound", "First notice of loss", "Kitchen fire, nobody hurt. Assigned to a field adjuster.",
              "السلام عليكم، حصل حريق صغير في المطبخ وأحتاج إلى فتح مطالبة"),
        Scene("review", None, "Annual policy review", "Walked through limits and exclusions of {number} with {who}."),
        Scene("note", None, "Subrogation note", "Other carrier accepted 80 % liability for {number}."),
    ),
)  # fmt: skip

HEALTHCARE = Industry(
    key="healthcare",
    name="Klinikverbund Havelland",
    zone="Europe/Berlin",
    domain="klinik-havelland.example",
    number="FALL-{:07d}",
    location="Ambulanz 3, Haus B",
    members=("Dr. Jana Albrecht", "Mehmet Yıldız", "Schwester Ulrike Böhm", "Łukasz Nowak", "Noa Ben-David", "Ida Rot"),
    roles=("Aufnahme", "Pflegekoordination", "Abrechnung"),
    accounts=("Hausarztpraxis Dr. Weiß", "Pflegedienst Sonnenschein", "AOK Nordost", "Reha-Zentrum Müggelsee"),
    contacts=("Käthe Großmann", "Jürgen Œser", "דנה לוי", "Ayşe Çelik", "Björn Sjögren", "Zoë Lefèvre"),
    scenes=(
        Scene("call", "outbound", "Terminerinnerung", "{who} an die Voruntersuchung erinnert; nüchtern. {number}"),
        Scene("meeting", None, "Aufklärungsgespräch", "Einwilligung unterschrieben, Allergien geprüft. {number}"),
        Scene("site_visit", None, "Hausbesuch", "Wundkontrolle bei {who}, Verband gewechselt, Heilung unauffällig 👍"),
        Scene("call", "inbound", "Rückfrage zum Befund", "Laborwerte erklärt; Kontrolle in drei Monaten. {number}",
              "Guten Tag, ich habe meine Laborwerte bekommen und verstehe den HbA1c nicht."),
        Scene("task", None, "Arztbrief anfordern", "Entlassungsbrief zu {number} fehlt noch, Praxis angeschrieben."),
        Scene("email", "outbound", "Care plan follow-up", "Sent {who} the care plan and the discharge summary."),
        Scene("sms", "outbound", "Impftermin bestätigt", "Termin bestätigt. {number}",
              "Ihr Termin: Dienstag 08:15, Haus B. Bitte Karte mitbringen 💉"),
        Scene("whatsapp", "inbound", "שאלה על תור", "Question about an appointment, answered in Hebrew.",
              "שלום, אפשר להקדים את התור לשבוע הבא? תודה 🙏"),
        Scene("training", None, "Insulinschulung", "{who} misst und spritzt selbstständig; Handzettel mitgegeben."),
        Scene("review", None, "Medikationsprüfung", "Wechselwirkung mit Marcumar ausgeschlossen. {number}"),
    ),
)  # fmt: skip

FINANCE = Industry(
    key="finance",
    name="Deccan Capital Advisors",
    zone="Asia/Kolkata",
    domain="deccan-capital.example",
    number="PF/{:05d}",
    location="Bandra Kurla Complex, Mumbai",
    members=("Ananya Iyer", "Rohan Deshpande", "Farah Qureshi", "Vikram Singh", "Meera Nair", "James O’Connor"),
    roles=("Wealth advisors", "Compliance", "Operations"),
    accounts=("Sahyadri Textiles Pvt Ltd", "Konkan Fisheries LLP", "山田商事株式会社", "Gulf Horizon Trading FZE"),
    contacts=("प्रिया शर्मा", "Arjun Mehta", "فاطمة الزهراء", "Lakshmi Narayanan", "田中太郎", "Олена Ковальчук"),
    scenes=(
        Scene("meeting", None, "Portfolio review", "Rebalanced {number}: equity down to 55 %, gilts up. {who} agreed."),
        Scene("call", "outbound", "KYC refresh", "Re-KYC of {number} due; address proof and PAN requested from {who}."),
        Scene("call", "inbound", "Redemption request", "{who} redeems ₹4,50,000 from the liquid fund; T+1 explained.",
              "नमस्ते, मुझे अपने फंड से कुछ पैसे निकालने हैं।"),
        Scene("task", None, "Suitability assessment", "Risk profile of {number} is a year old; new form sent."),
        Scene("presentation", None, "Pitch: structured products", "Showed capital-protected notes, fees on page 7."),
        Scene("email", "outbound", "Quarterly statement", "Statement of {number} sent with capital gains report."),
        Scene("chat", "inbound", "SIP date change", "SIP moved to the 10th of each month. {number}",
              "SIP की तारीख 10 कर दीजिए 😊"),
        Scene("whatsapp", "inbound", "Wire instructions", "Call-back to the known number done before the wire.",
              "مرحبا، أرسلت تعليمات التحويل، هل وصلت؟"),
        Scene("review", None, "Suspicious activity review", "Two cash deposits below the threshold; cleared. {number}"),
        Scene("note", None, "Nominee updated", "Nominee form of {number} verified 📄"),
    ),
)  # fmt: skip

WORKING = ("view", "log", "create", "edit", "delete")
PERMISSIONS: tuple[dict[str, str], ...] = (
    {},
    {f"{life}.{act}": "all" if act == "view" else "my" for life in ("scheduled", "logged") for act in WORKING},
    {"scheduled.view": "all", "logged.view": "all", "logged.log": "my", "logged.create": "my"},
)
"""What the roles of each industry allow, in their order: everything with activities; to see all and to do one's own; to
see all and to log, but to plan nothing.
"""

INDUSTRIES = (INSURANCE, HEALTHCARE, FINANCE)
